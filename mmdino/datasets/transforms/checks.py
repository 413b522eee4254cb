"""Checks of configured values that several augmentations share."""
import math
from collections.abc import Sequence


def check_prob(prob: float) -> float:
    """Return ``prob``, a probability.

    Raises:
        ValueError: If it is not within [0, 1].
    """
    if not 0 <= prob <= 1:
        raise ValueError(f'prob must be within [0, 1], got {prob}')
    return prob


def check_range(name: str,
                values: Sequence[float],
                above: float = 0.) -> tuple[float, float]:
    """Return ``values`` as (low, high).

    Args:
        name (str): What the range is of, for the message.
        values (Sequence[float]): Two numbers.
        above (float): What the lower one must be above.

    Raises:
        ValueError: If these are not two numbers with above < low <= high.
    """
    low, high = values if len(values) == 2 else (above, above)
    if not above < low <= high < math.inf:
        raise ValueError(f'{name} must be two numbers (low, high) with '
                         f'{above} < low <= high, got {tuple(values)}')
    return low, high
