"""Figures for the log that show a collapse, and their sum over the ranks.

Letters: T teacher views, B images, K prototypes.
"""
import torch
import torch.distributed
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from mmdino.functional.losses import at_least_float32, entropy


def target_monitors(targets: Tensor,
                    mean: Tensor | None = None) -> dict[str, Tensor]:
    """Compute figures that show whether targets differ between images.

    Caron et al. 2021, Sec. 5.3.

    Args:
        targets: Distributions, shape (T, B, K).
        mean: The mean target of all ranks, shape (K, ); by default it is
            computed here, which communicates.

    Returns:
        Scalars without gradient:

        - ``teacher_entropy``: the mean entropy of this rank's targets, in
          nats. It is ln K if the targets are uniform and 0 if each consists
          of a single prototype.
        - ``largest_prototype``: the share of the most used prototype in the
          mean target of all ranks, a fraction.
        - ``target_information``: the mutual information of image and
          prototype, in nats, that is, the entropy of the mean target of all
          ranks minus the teacher entropy. It is 0 if all images have the same
          target and at most the logarithm of the number of images.
    """
    targets = at_least_float32(targets.detach())
    if mean is None:
        mean = targets.mean((0, 1))
        all_reduce(mean, 'mean')
    return name_monitors(entropy(targets), mean)


def name_monitors(teacher_entropy: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Compute :func:`target_monitors` from the mean entropy and mean target.

    Args:
        teacher_entropy: Scalar, the mean entropy of the targets.
        mean: (K,), the mean target of all ranks.
    """
    return dict(
        teacher_entropy=teacher_entropy,
        largest_prototype=mean.max(),
        target_information=entropy(mean) - teacher_entropy)


class SharedSum:
    """Tensors that are summed over all ranks in one asynchronous all-reduce.

    The all-reduce starts in the constructor and ends in :meth:`wait`. On a
    GPU, ``wait`` orders the streams and does not block the host. In a single
    process both do nothing.

    Args:
        tensors: Tensors of one dtype and device, with the same shapes on every
            rank. They hold the sums after :meth:`wait`.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        self._work = None
        if tensors and get_world_size() > 1:
            self._flat = torch.cat([t.flatten() for t in tensors])
            self._work = torch.distributed.all_reduce(
                self._flat, async_op=True)

    def wait(self) -> None:
        """Wait for the sums and put them into the tensors."""
        if self._work is None:
            return
        self._work.wait()
        sizes = [t.numel() for t in self._tensors]
        torch._foreach_copy_(self._tensors, [
            part.view_as(t)
            for part, t in zip(self._flat.split(sizes), self._tensors)
        ])
