"""Video object segmentation with patch tokens, without training.

Caron et al. 2021 (arXiv 2104.14294), section 4.2.2 and table 5. F frames of
(H, W) pixels, C channels, D features; (h, w) the patch grid.
"""
from collections import deque

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor

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

    Patch tokens, of the last block through the final norm, are compared with
    those of the first and of the preceding frames, and labels follow the
    similarity (:func:`propagate_labels`).

    Args:
        num_context: Preceding frames to look at beside the first.
        radius: How far an object may move from any of them, in patches to each
            side.
        topk: Patches of the context that a patch listens to.
        temperature: Of the cosine similarities.
        **kwargs: As :class:`FrozenTeacher`'s.

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
            raise ValueError('VideoSegmenter needs a backbone with the method '
                             'last_blocks, such as mmdino.VisionTransformer, '
                             f'got {type(self.backbone).__name__}: '
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
            data_samples: One a video, with ``first_mask`` (H', W'), uint8: 0
                background, then the objects. They get ``pred_masks`` (F, H',
                W'), uint8, on the CPU; the first is ``first_mask``.
        """
        for frames, sample in zip(inputs, data_samples):
            mask = torch.as_tensor(sample.first_mask).cpu()
            name = f'Video {sample.get("sequence", "")}'.strip()
            sample.set_field(
                self.segment(frames, mask, name), 'pred_masks', dtype=Tensor)
        return data_samples

    def segment(self, frames: Tensor, mask: Tensor, name: str) -> Tensor:
        """Follow the objects of the first frame's mask (H', W').

        Through frames (F, C, H, W); ``name`` is what the lines of progress
        start with.

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
        """Unit features (h, w, D) of a frame (C, H, W)."""
        tokens = patch_tokens(self.backbone, self.tokens(frame[None])[0])[0]
        width = frame.shape[-1] // self.backbone.patch_size
        return F.normalize(tokens.float(), dim=-1).unflatten(0, (-1, width))
