"""What changes over training, as pure functions of time.

Learning rate and weight decay are MMEngine's own schedulers; only what has
no scheduler there is here.
"""
import math


def cosine(step: int, total: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` towards ``end``.

    Args:
        step (int): Iteration, from 0 to ``total - 1``.
        total (int): Number of iterations; ``end`` would be reached at it, so
            the last value stops just short (Caron et al. 2021, App. C).
    """
    return end + (start - end) * (1 + math.cos(math.pi * step / total)) / 2


def linear_warmup(epoch: int, warmup_epochs: int, start: float,
                  end: float) -> float:
    """From ``start`` to ``end`` in equal steps, both ends included.

    Args:
        epoch (int): Counted from 0.
        warmup_epochs (int): Epochs that the warm-up takes; ``end`` is
            reached in the last of them. 0 gives ``end`` at once.
    """
    if epoch >= warmup_epochs:
        return end
    return start + (end - start) * epoch / max(warmup_epochs - 1, 1)
