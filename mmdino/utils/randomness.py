"""Random numbers that depend on time only, so that a resume repeats them.

A generator that is seeded anew from a key, such as (seed, epoch, index), has
no state to save: neither the worker that loads a sample nor what was drawn
before it, nor a validation in between, changes what comes.
"""
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Ends the key of an iteration, (seed, rank, iteration), which would otherwise
# be that of a sample, (seed, epoch, index). Not 0: NumPy pads keys with it.
ITERATION = 0x17E2


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch on all devices for (seed, rank, iteration).

    All at least 0. The numbers differ from those of :func:`seeded`.
    """
    seed = _seed_cpu(*key, ITERATION)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # torch.manual_seed would take 0.8 ms for devices that are absent
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the CPU's generators for the sample (seed, epoch, index).

    All at least 0. Afterwards their states are restored.
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

    NumPy's SeedSequence mixes the key, so that neighbouring ones give
    unrelated streams.
    """
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    return int(words[2]) << 31 | int(words[3]) >> 1
