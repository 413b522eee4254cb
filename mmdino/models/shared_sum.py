"""An all-reduce that runs while the model computes."""

import torch
import torch.distributed
from mmengine.dist import get_world_size
from torch import Tensor


class SharedSum:
    """Tensors that are summed over all ranks in one asynchronous all-reduce.

    It starts at once; :meth:`wait` ends it. On a GPU that only orders the
    streams, the host goes on. Alone, both do nothing.

    Args:
        tensors: Of one dtype and device, on every rank of the same shapes.
            They hold the sums after :meth:`wait`.
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
