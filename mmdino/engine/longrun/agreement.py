"""One number for all processes, without the GPUs."""
import functools

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size


def largest_of_all_ranks(value: int) -> int:
    """The largest value of any process, by CPUs and their network alone.

    All processes call it together. With nccl the usual groups would copy the
    number to the GPU and wait for all that the GPU still has to do.

    Args:
        value (int): Of this process, such as the number of a signal.
    """
    if get_world_size() < 2:
        return value
    flag = torch.tensor(value)
    dist.all_reduce(flag, dist.ReduceOp.MAX, group=_cpu_group())
    return int(flag)


def _cpu_group() -> dist.ProcessGroup:
    """The default group where it is of CPUs, otherwise one made at once."""
    default = dist.group.WORLD
    return default if dist.get_backend() == 'gloo' else _new_group(default)


@functools.lru_cache(maxsize=1)
def _new_group(default: dist.ProcessGroup) -> dist.ProcessGroup:
    return dist.new_group(backend='gloo')
