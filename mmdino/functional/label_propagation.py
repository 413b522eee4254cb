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

# Target patches are processed in square tiles of this many patches a side:
# small enough that most sources compared with a tile are neighbours of each
# of its targets, large enough for an efficient matrix product.
TILE = 12


def propagate_labels(target: Tensor,
                     sources: Tensor,
                     labels: Tensor,
                     radius: int = 12,
                     topk: int = 5,
                     temperature: float = 0.1) -> Tensor:
    """Label each patch of a frame by the most similar patches of others.

    A target patch is compared with the patches of all source frames that are
    at most ``radius`` rows and columns away. Its label is the mean of the
    labels of the ``topk`` most similar ones, with weights proportional to
    exp(cosine / temperature). Exactly ``topk`` are taken, also where several
    are equally similar.

    Only the similarities of one tile of targets are held in memory at once:
    with S = 8, radius 12 and a grid of 60 x 104 these are 6 MB, whereas those
    of all pairs would be 1.2 GB.

    Args:
        target: (h, w, D), of unit length.
        sources: (S, h, w, D), of unit length.
        labels: (S, C, h, w) the sources' soft labels.
        radius: Half side of the neighbourhood, in patches.
        topk: Number of source patches whose labels are averaged.
        temperature: Divides the cosine similarities before the softmax.

    Returns:
        (C, h, w) soft labels of the target; they sum to 1 over C if those of
        the sources do.
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
    """Cut an axis into strips of targets, each with the sources near it.

    Yields:
        The strip; the range of sources within the radius of any target of
        the strip; and a bool tensor (targets, sources) of that range that
        says whether the source is within the radius of the target.
    """
    places = torch.arange(length, device=device)
    for start in range(0, length, TILE):
        strip = slice(start, min(start + TILE, length))
        reach = slice(max(start - radius, 0), min(strip.stop + radius, length))
        distance = (places[strip, None] - places[reach]).abs()
        yield strip, reach, distance <= radius


def _most_similar(target: Tensor, sources: Tensor, near: Tensor,
                  topk: int) -> tuple[Tensor, Tensor]:
    """Find the sources that are most similar to each target.

    Args:
        target: (r, c, D), of unit length.
        sources: (S, r', c', D), of unit length.
        near: (r, c, r', c') bool, the sources to compare with each target.
        topk: k, how many to find; at most S r' c'.

    Returns:
        Cosine similarities and flat indices into S r' c', both (r, c, k). The
        similarity of sources that are not near is -inf.
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
        mask: (H, W) uint8: 0 is background, 1, 2, ... are the objects.
        grid: (h, w); each patch takes the label of the pixel at its centre.
        num_objects: Number of objects, C - 1.
    """
    small = _resize(mask, grid).long()
    return F.one_hot(small, num_objects + 1).permute(2, 0, 1).float()


def labels_to_mask(labels: Tensor, frame_size: tuple[int, int],
                   size: tuple[int, int]) -> Tensor:
    """Turn soft labels of patches into a mask of pixels.

    As in the authors' code, the map of each class is upsampled bilinearly and
    rescaled so that its values span [0, 1]; each pixel gets the class with
    the largest value. The map of a class with one value everywhere is not
    rescaled, which would divide by zero.

    Args:
        labels: (C, h, w).
        frame_size: Height and width in pixels of the frame that the patches
            were cut from; the classes are compared at this size.
        size: (H, W) of the result; the mask is resized to it by nearest
            neighbours.

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
    """Resize a mask to (H, W) by nearest neighbours, as Pillow does.

    torch chooses another pixel where two are equally near.
    """
    image = Image.fromarray(mask.cpu().numpy())
    return torch.from_numpy(np.array(image.resize(size[::-1], Image.NEAREST)))
