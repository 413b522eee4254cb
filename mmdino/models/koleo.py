"""The KoLeo loss of DINOv2 (Oquab et al. 2023, arXiv 2304.07193).

G crops of each image, B images, D features.
"""
import torch
import torch.nn as nn
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from mmdino.functional.koleo import koleo, nearest_distances
from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS

SAME = 1e-6  # a distance that only rounding and the authors' 1e-8 make


@MODELS.register_module()
class KoLeoLoss(nn.Module):
    """Minus the mean log distance of each image to its nearest neighbour.

    Separately for each crop.

    In float32 at least, also under autocast. Vectors that are there twice,
    of repeated images or of a collapsed network, have no finite logarithm:
    as in the authors' code they count as about -log(1e-8 sqrt(D)), with a
    gradient to match. ``duplicates`` tells of them.

    Args:
        all_ranks: Look for neighbours among the images of all ranks, which
            need the same number of images, instead of this rank's.

    Attributes:
        duplicates (Tensor): Share of the last batch's vectors that have
            another one in the same place, a scalar.

    Raises:
        ValueError: In forward, if there is no other image.
    """

    def __init__(self, all_ranks: bool = False) -> None:
        super().__init__()
        self.all_ranks = all_ranks
        self.duplicates = torch.zeros(())

    def forward(self, features: Tensor) -> Tensor:
        """Sum :func:`mmdino.functional.koleo.koleo` over the crops.

        Args:
            features: Class tokens, shape (G, B, D), or (B, D) of one crop.
                Scaled to unit length here.

        Returns:
            Scalar.
        """
        if features.ndim == 2:
            features = features[None]
        with torch.autocast(features.device.type, enabled=False):
            crops = at_least_float32(features)
            everyone, first = self._neighbourhood(crops)
            distances = [
                nearest_distances(*pair, first)
                for pair in zip(crops, everyone)
            ]
            self.duplicates = (torch.stack(distances).detach()
                               < SAME).to(crops.dtype).mean()
            return sum(map(koleo, distances))

    def _neighbourhood(self, crops: Tensor) -> tuple[Tensor, int]:
        """All vectors (G, N, D) that count, and where this rank's begin."""
        everyone, first = crops, 0
        if self.all_ranks and get_world_size() > 1:
            everyone = torch.cat(all_gather(crops.contiguous()), dim=1)
            first = get_rank() * crops.shape[1]
        if everyone.shape[1] < 2:
            raise ValueError(
                'KoLeoLoss needs two images at least to find a neighbour, got '
                f'{everyone.shape[1]}: raise train_dataloader.batch_size, let '
                'neighbours come from all ranks (all_ranks=True), or leave '
                'KoLeo out.')
        return everyone, first
