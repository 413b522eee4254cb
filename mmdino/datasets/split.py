"""Which images keep their labels when only some may be seen."""
from typing import List, Sequence

import numpy as np


def balanced_split(labels: Sequence[int], fraction: float,
                   seed: int) -> List[int]:
    """Choose the same share of every class, at least one image of each.

    The choice depends on the arguments alone: NumPy keeps the stream of its
    RandomState the same on all machines and versions.

    Args:
        labels: Of all images.
        fraction: Share of each class, in (0, 1].
        seed: Chooses another split.

    Returns:
        Places of the chosen images, rising.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'fraction must be in (0, 1], got {fraction}.')
    labels = np.asarray(labels)
    random = np.random.RandomState(seed)
    chosen: List[int] = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(places)))
        chosen += random.permutation(places)[:count].tolist()
    return sorted(chosen)
