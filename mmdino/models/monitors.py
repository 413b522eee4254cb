"""What shows whether training has collapsed.

T teacher views, B images, K prototypes.
"""
from typing import Dict

from mmengine.dist import all_reduce
from torch import Tensor

from mmdino.functional.losses import entropy


def target_monitors(targets: Tensor) -> Dict[str, Tensor]:
    """What shows whether the targets differ from image to image.

    Args:
        targets (Tensor): Distributions, shape (T, B, K).

    Returns:
        dict[str, Tensor]: ``largest_prototype``, the mean share of the most
        used prototype; ``target_information``, the mutual information of
        image and prototype in nats: the entropy of the mean target, of all
        ranks, less the mean of this rank's entropies. It is 0 if all images
        have the same target, the logarithm of their number at most.
    """
    mean = targets.mean((0, 1))
    all_reduce(mean, 'mean')
    return dict(
        largest_prototype=mean.max(),
        target_information=entropy(mean) - entropy(targets))
