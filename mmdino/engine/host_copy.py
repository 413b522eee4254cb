"""Copies of scalars from the device to the host without waiting."""

import torch
from torch import Tensor


class HostCopy:
    """Scalars that are copied to the host while the device computes on.

    All go in one copy, for which the host does not wait until it reads them.

    Args:
        scalars: On one device, of any dtype; copied as they are now.
    """

    def __init__(self, scalars: list[Tensor]) -> None:
        values = torch.stack([value.detach().double() for value in scalars])
        self._values = values.to('cpu', non_blocking=True)  # to pinned memory
        self._arrived = None
        if values.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> list[float]:
        """Return the values; wait for them if they have not arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values.tolist()
