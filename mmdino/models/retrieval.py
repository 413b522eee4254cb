"""DINO's features of images of any size, at one or several scales."""
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.retrieval import crop_to_multiple, rescale
from mmdino.models.dino import DINO
from mmdino.registry import MODELS


@MODELS.register_module()
class MultiScaleDINO(DINO):
    """DINO whose features are means over scales of the image.

    As in the authors' retrieval: the image is resized bilinearly, the
    features of all scales are averaged and the mean is L2-normalised. Images
    need not be multiples of the patch: as a strided convolution does, the
    model leaves out the pixels at the right and at the bottom that fill no
    patch. Backbones without ``patch_size`` see the whole image.

    Args:
        scales (Sequence[float]): Fractions of the image's sides.
        **kwargs: Those of :class:`DINO`.

    Raises:
        ValueError: If there is no scale or one is not positive; in forward,
            if a scaled image is smaller than a patch.
    """

    def __init__(self, *, scales: Sequence[float] = (1., ), **kwargs) -> None:
        super().__init__(**kwargs)
        if not scales or min(scales) <= 0:
            raise ValueError(f'scales must be positive numbers, got {scales}.')
        self.scales = tuple(scales)

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Give the normalised features (B, D) of images (B, C, H, W)."""
        patch = getattr(self.backbone, 'patch_size', 1)
        by_scale = [
            super(MultiScaleDINO, self).extract_feat(
                crop_to_multiple(rescale(inputs, scale), patch))
            for scale in self.scales
        ]
        return F.normalize(torch.stack(by_scale).mean(dim=0), dim=1)
