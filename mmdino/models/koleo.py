"""The KoLeo loss of DINOv2, which spreads features (arXiv 2304.07193).

G crops of each image, B images, N images of all ranks, D features.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS

EPS = 1e-8  # the authors', at every division and logarithm


def nearest_distances(vectors: Tensor,
                      everyone: Tensor,
                      first: int = 0) -> Tensor:
    """Compute the distance of each unit vector to its nearest neighbour.

    Which one is the nearest has no gradient; the distance has one, to both.

    Args:
        vectors: Shape (B, D), scaled to unit length here.
        everyone: Shape (N, D), N >= 2, the B vectors among them.
        first: Place of the first of the B vectors among the N.

    Returns:
        Shape (B, ), at most 2; 1e-8 sqrt(D) for a vector that is there twice.
    """
    vectors = F.normalize(vectors, eps=EPS, dim=-1)
    everyone = F.normalize(everyone, eps=EPS, dim=-1)
    with torch.no_grad():
        similarities = vectors @ everyone.t()
        similarities.diagonal(first).fill_(-1)
        nearest = similarities.argmax(1)
    return F.pairwise_distance(vectors, everyone[nearest], eps=EPS)


def koleo(distances: Tensor) -> Tensor:
    r"""Compute the Kozachenko-Leonenko estimate of minus the entropy.

    .. math:: -\frac{1}{B} \sum_b \log (d_b + 10^{-8})

    Sablayrolles et al. 2019 (arXiv 1806.03198, Eq. 3), Oquab et al. 2023
    (arXiv 2304.07193, section 4). Without the logarithm of B, a constant.

    Args:
        distances: d (B, ), of :func:`nearest_distances`.
    """
    return -(distances + EPS).log().mean()


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
        """Sum :func:`mmdino.models.koleo.koleo` over the crops.

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
