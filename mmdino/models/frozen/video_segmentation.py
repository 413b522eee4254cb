"""Video object segmentation with patch tokens, without training.

Caron et al. 2021 (arXiv 2104.14294), section 4.2.2 and table 5.

Letters: F frames of (H, W) pixels, C channels, D features, (h, w) the patch
grid, (H', W') pixels of the annotated masks.
"""
from collections import deque

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.functional.finite import require_finite
from mmdino.functional.label_propagation import (labels_to_mask,
                                                 mask_to_labels,
                                                 propagate_labels)
from mmdino.models.frozen.features import patch_tokens, require_blocks
from mmdino.models.frozen.frozen_teacher import FrozenTeacher
from mmdino.registry import MODELS
from mmdino.utils.progress import track


@MODELS.register_module()
class VideoSegmenter(FrozenTeacher):
    """Follow the objects of a video's first frame by a teacher's patch tokens.

    The patch tokens of a frame (of the last block, through the final norm) are
    compared with those of the first frame and of the frames before it. Each
    patch takes the labels of the most similar patches
    (:func:`propagate_labels`).

    Args:
        num_context: Number of preceding frames to compare with, in addition
            to the first frame.
        radius: Patches up to this many rows and columns away are compared.
        topk: Number of similar patches whose labels are averaged.
        temperature: Divides the cosine similarities before the softmax.
        **kwargs: Other arguments of :class:`FrozenTeacher`.

    Raises:
        ValueError: If the backbone gives no tokens, or a number is too small.
    """

    def __init__(self,
                 num_context: int = 7,
                 radius: int = 12,
                 topk: int = 5,
                 temperature: float = 0.1,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        try:
            require_blocks(self.backbone)
        except ValueError as error:
            raise ValueError('VideoSegmenter needs a backbone with patch '
                             'tokens, such as mmdino.VisionTransformer: '
                             f'{error}') from error
        if min(num_context, radius) < 0 or topk < 1 or temperature <= 0:
            raise ValueError(
                'VideoSegmenter needs num_context >= 0, radius >= 0, '
                f'topk >= 1 and temperature > 0, got {num_context}, {radius}, '
                f'{topk} and {temperature}.')
        self.num_context = num_context
        self.radius = radius
        self.topk = topk
        self.temperature = temperature

    @torch.no_grad()
    def predict(self, inputs: list[Tensor],
                data_samples: list[DataSample]) -> list[DataSample]:
        """Write the masks of all frames of videos (F, C, H, W) into samples.

        Args:
            inputs: Normalised frames of each video, (F, C, H, W).
            data_samples: One for each video, with ``first_mask`` (H', W'),
                uint8: 0 is background, 1, 2, ... are the objects.

        Returns:
            The samples with ``pred_masks`` (F, H', W'), uint8, on the CPU.
            The first of these is ``first_mask``.
        """
        for frames, sample in zip(inputs, data_samples):
            mask = torch.as_tensor(sample.first_mask).cpu()
            name = f'Video {sample.get("sequence", "")}'.strip()
            sample.set_field(
                self.segment(frames, mask, name), 'pred_masks', dtype=Tensor)
        return data_samples

    def segment(self, frames: Tensor, mask: Tensor, name: str) -> Tensor:
        """Follow the objects of the first frame's mask (H', W').

        Args:
            frames: Normalised frames, (F, C, H, W).
            mask: (H', W'), uint8, of the first frame.
            name: What the progress lines start with.

        Returns:
            Shape (F, H', W'), uint8, on the CPU.
        """
        features = self._patch_features(frames[0])
        labels = mask_to_labels(mask, features.shape[:2], int(mask.max()))
        labels = labels.to(features.device)
        first, recent = (features, labels), deque(maxlen=self.num_context)
        masks = [mask]
        for frame in track(frames[1:], name):
            features = self._patch_features(frame)
            sources, source_labels = map(torch.stack, zip(first, *recent))
            labels = propagate_labels(features, sources, source_labels,
                                      self.radius, self.topk, self.temperature)
            recent.append((features, labels))
            masks.append(labels_to_mask(labels, frame.shape[-2:], mask.shape))
        return torch.stack(masks)

    def _patch_features(self, frame: Tensor) -> Tensor:
        """Compute unit features (h, w, D) of a frame (C, H, W)."""
        tokens = patch_tokens(self.backbone, self.tokens(frame[None])[0])[0]
        require_finite(tokens, 'patch features')
        width = frame.shape[-1] // self.backbone.patch_size
        return F.normalize(tokens.float(), dim=-1).unflatten(0, (-1, width))
