"""The KoLeo loss of DINOv2, which spreads features (arXiv 2304.07193).

Letters: G crops of each image, B images, N images of all ranks, D features.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS

EPS = 1e-8  # as in the authors' code, in every norm and logarithm


def nearest_distances(vectors: Tensor,
                      everyone: Tensor,
                      first: int = 0) -> Tensor:
    """Compute the distance of each unit vector to its nearest neighbour.

    The choice of the neighbour has no gradient; the distance has a gradient
    with respect to both vectors.

    Args:
        vectors: Shape (B, D), scaled to unit length here.
        everyone: Shape (N, D), N >= 2, contains the B vectors; scaled to unit
            length here.
        first: Index of the first of the B vectors among the N.

    Returns:
        Shape (B, ), at most 2; about 1e-8 sqrt(D) where two vectors are equal.
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
    (arXiv 2304.07193, section 4). The constant log B is left out.

    Args:
        distances: d (B, ), see :func:`nearest_distances`.
    """
    return -(distances + EPS).log().mean()


# Vectors that are nearer than this count as equal: such distances come from
# rounding and from EPS.
SAME = 1e-6


@MODELS.register_module()
class KoLeoLoss(nn.Module):
    """Minus the mean log distance of each image to its nearest neighbour.

    The loss is computed for each crop and summed over the crops, in float32 or
    float64 also under autocast. Equal vectors, which come from repeated images
    or a collapsed network, have no finite log distance. As in the authors'
    code, each counts as about -log(1e-8 sqrt(D)); ``duplicates`` is their
    share.

    Args:
        all_ranks: Look for neighbours among the images of all ranks instead of
            this rank's. All ranks then need the same number of images.

    Attributes:
        duplicates (Tensor): Scalar, the share of the last batch's vectors that
            equal another one.

    Raises:
        ValueError: In forward, if there is only one image.
    """

    def __init__(self, all_ranks: bool = False) -> None:
        super().__init__()
        self.all_ranks = all_ranks
        self.duplicates = torch.zeros(())

    def forward(self, features: Tensor) -> Tensor:
        """Sum :func:`mmdino.models.koleo.koleo` over the crops.

        Args:
            features: Class tokens, shape (G, B, D), or (B, D) for one crop.
                They are scaled to unit length here.

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
        """Return the vectors (G, N, D) among which neighbours are looked for.

        The second value is the index of this rank's first image among the N.
        """
        everyone, first = crops, 0
        if self.all_ranks and get_world_size() > 1:
            everyone = torch.cat(all_gather(crops.contiguous()), dim=1)
            first = get_rank() * crops.shape[1]
        if everyone.shape[1] < 2:
            raise ValueError(
                'KoLeoLoss needs two images at least to find a neighbour, got '
                f'{everyone.shape[1]}: if this is the rest of an epoch, set '
                'train_dataloader.drop_last=True; otherwise raise '
                'train_dataloader.batch_size, look for neighbours on all '
                'ranks (all_ranks=True), or remove model.koleo.')
        return everyone, first
