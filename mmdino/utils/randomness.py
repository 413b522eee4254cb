"""Random numbers that depend on the step only, so that a resume repeats them.

The generators are seeded anew from a key, such as (seed, epoch, index). They
have no state to save: the numbers of a sample depend neither on the worker
that loads it nor on what was drawn before, for example in a validation.
"""
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Appended to the key of an iteration, (seed, rank, iteration), to tell it from
# the key of a sample, (seed, epoch, index). Not 0: NumPy pads keys with zeros.
ITERATION = 0x17E2


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch on all devices for (seed, rank, iteration).

    The numbers differ from those that :func:`seeded` gives for the same key.

    Args:
        *key: Integers of at least 0.
    """
    seed = _seed_cpu(*key, ITERATION)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # torch.manual_seed would take 0.8 ms for devices that are absent
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the CPU's generators for the sample (seed, epoch, index).

    The states of the generators are restored at the end.

    Args:
        *key: Integers of at least 0.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.default_generator.manual_seed(_seed_cpu(*key))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed_cpu(*key: int) -> int:
    """Seed Python and NumPy; return a seed for torch.

    NumPy's SeedSequence mixes the key, so that similar keys give unrelated
    numbers.
    """
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    return int(words[2]) << 31 | int(words[3]) >> 1
