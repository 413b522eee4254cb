"""Propagation of a video's first-frame labels by patch features.

The protocol of Jabri et al. 2020 (arXiv 2006.14613), section 4, with which
Caron et al. 2021 (arXiv 2104.14294), table 5, score frozen features on DAVIS
2017: nothing is trained.

Letters: (h, w) the patch grid, D features, S source frames, C classes (the
background, then the objects); (H, W) pixels.
"""
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# Targets are compared by tiles of this many patches a side: small enough that
# few sources lie outside all of their neighbourhoods, large enough for the
# matrix product to be efficient.
TILE = 12


def propagate_labels(target: Tensor,
                     sources: Tensor,
                     labels: Tensor,
                     radius: int = 12,
                     topk: int = 5,
                     temperature: float = 0.1) -> Tensor:
    """Label each patch of a frame by the most similar patches of others.

    A patch at (y, x) looks at those of all source frames with
    ``|dy| <= radius`` and ``|dx| <= radius``, keeps the ``topk`` most
    similar, and takes the mean of their labels with weights proportional to
    exp(cosine / temperature). Exactly ``topk`` are kept, also where several
    are equally similar.

    Never more than the similarities of one tile of targets exist at once:
    with S = 8, radius 12 and a grid of 60 x 104, 6 MB instead of the 1.2 GB
    of all pairs.

    Args:
        target: (h, w, D), of unit length.
        sources: (S, h, w, D), of unit length.
        labels: (S, C, h, w) the sources' soft labels.
        radius: Half side of the neighbourhood, in patches.
        topk: Number of sources that a target listens to.
        temperature: Of the similarities.

    Returns:
        (C, h, w) soft labels of the target; they sum to 1 over C where the
        sources' do.
    """
    h, w, _ = target.shape
    out = labels.new_empty(labels.shape[1:])
    for rows, near_rows, row_is_near in _strips(h, radius, target.device):
        for cols, near_cols, col_is_near in _strips(w, radius, target.device):
            near = row_is_near[:, None, :, None] & col_is_near[:, None, :]
            best, index = _most_similar(target[rows, cols],
                                        sources[:, near_rows,
                                                near_cols], near, topk)
            weights = (best / temperature).softmax(dim=-1)
            candidates = labels[:, :, near_rows, near_cols].transpose(0, 1)
            kept = candidates.flatten(1)[:, index]
            out[:, rows, cols] = (kept * weights).sum(dim=-1)
    return out


def _strips(length: int, radius: int,
            device: torch.device) -> Iterator[tuple[slice, slice, Tensor]]:
    """Cut an axis into strips, each with what lies in reach of it.

    Yields:
        The strip, the sources in reach of any of it, and whether a source of
        these is in reach of a target of the strip, (targets, sources) bool.
    """
    places = torch.arange(length, device=device)
    for start in range(0, length, TILE):
        strip = slice(start, min(start + TILE, length))
        reach = slice(max(start - radius, 0), min(strip.stop + radius, length))
        distance = (places[strip, None] - places[reach]).abs()
        yield strip, reach, distance <= radius


def _most_similar(target: Tensor, sources: Tensor, near: Tensor,
                  topk: int) -> tuple[Tensor, Tensor]:
    """Cosines and places (r, c, k) of the sources most similar to each target.

    Of targets (r, c, D) and sources (S, r', c', D); near (r, c, r', c') says
    which sources count, others have -inf. k is at most S r' c'.
    """
    scores = target.flatten(0, 1) @ sources.flatten(0, 2).t()
    scores = scores.view(-1, len(sources), near[0, 0].numel())
    scores.masked_fill_(~near.flatten(2).flatten(0, 1)[:, None], -torch.inf)
    scores = scores.flatten(1).unflatten(0, target.shape[:2])
    return scores.topk(min(topk, scores.shape[-1]), dim=-1)


def mask_to_labels(mask: Tensor, grid: tuple[int, int],
                   num_objects: int) -> Tensor:
    """Turn a mask into one-hot labels (C, h, w) of patches, float32.

    Args:
        mask: (H, W) uint8: 0 background, then the objects.
        grid: (h, w); each patch takes the pixel at its centre.
        num_objects: C is one more.
    """
    small = _resize(mask, grid).long()
    return F.one_hot(small, num_objects + 1).permute(2, 0, 1).float()


def labels_to_mask(labels: Tensor, frame_size: tuple[int, int],
                   size: tuple[int, int]) -> Tensor:
    """Turn soft labels of patches into a mask of pixels.

    As in the authors' code, each class is upsampled, stretched to [0, 1]
    over the frame where it occurs, and the strongest wins. A class of one
    value everywhere, whose stretching would divide by zero, stays as it is.

    Args:
        labels: (C, h, w).
        frame_size: Height and width in pixels of the frame that the patches
            were cut from; the classes compete at this size.
        size: (H, W), reached by the nearest pixel.

    Returns:
        (H, W) uint8, on the CPU.
    """
    maps = F.interpolate(
        labels[None], frame_size, mode='bilinear', align_corners=False)[0]
    low, high = maps.flatten(1).aminmax(dim=1)
    low, high = low[:, None, None], high[:, None, None]
    stretched = (maps - low) / (high - low)
    winner = torch.where(high > low, stretched, maps).argmax(dim=0)
    return _resize(winner.byte(), size)


def _resize(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest pixels; Pillow's, since torch's differ where two are as near."""
    image = Image.fromarray(mask.cpu().numpy())
    return torch.from_numpy(np.array(image.resize(size[::-1], Image.NEAREST)))
