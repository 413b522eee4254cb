"""Augmentations that depend on seed, epoch and index only."""
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import Dataset, Sampler

from mmdino.registry import DATA_SAMPLERS, DATASETS
from mmdino.utils.randomness import seeded


class SampleKey(NamedTuple):
    """The index of a sample and the key that seeds its augmentations."""
    index: int
    epoch: int
    seed: int


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A data set that seeds the augmentations of each :class:`SampleKey`.

    So they are the same with any number of workers and processes.

    Args:
        dataset: Config of the data set.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        self.metainfo = getattr(self.dataset, 'metainfo', {})

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> dict:
        with seeded(key.seed, key.epoch, key.index):
            return self.dataset[key.index]


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """A sampler that adds a :class:`SampleKey` to the indices of another one.

    Beginning in mid-epoch costs no time, and the order is an array, for
    MMEngine's DefaultSampler (4 bytes a sample of the data set on each
    process) and for samplers with ``iterate(start)`` such as ShardSampler.
    Others are iterated from their start.

    Args:
        dataset: The data set.
        sampler: Config of the other sampler.
        seed: For its order and for the samples.

    Attributes:
        start (int): Samples at the beginning of an epoch to leave out.
    """

    def __init__(self, dataset: Dataset, sampler: dict,
                 seed: int | None) -> None:
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=seed))
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[SampleKey]:
        for index in self._indices():
            yield SampleKey(index, self.epoch, self.seed)

    def _indices(self) -> Iterator[int]:
        if hasattr(self.sampler, 'iterate'):
            return self.sampler.iterate(self.start)
        if type(self.sampler) is DefaultSampler:
            return iterate_default(self.sampler, self.start)
        return islice(self.sampler, self.start, None)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order and the augmentations."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def set_seed(self, seed: int) -> None:
        """Set the seed of the order and the augmentations of all epochs."""
        self.seed = self.sampler.seed = seed


def iterate_default(sampler: DefaultSampler,
                    start: int,
                    chunk: int = 2**16) -> Iterator[int]:
    """Iterate as a DefaultSampler does, from an index on.

    Without a list of all indices in memory.

    It makes Python's integers, ``chunk`` at a time, of a permutation that is
    an array: 4 bytes a sample (8 from 2^31 on) in the place of about 40.
    """
    length = len(sampler.dataset)
    order = _permutation(length, sampler.seed +
                         sampler.epoch) if sampler.shuffle else None
    for first in range(start, len(sampler), chunk):
        numbers = np.arange(first, min(first + chunk, len(sampler)))
        places = (sampler.rank + numbers * sampler.world_size) % length
        yield from (places if order is None else order[places]).tolist()


def _permutation(length: int, seed: int) -> np.ndarray:
    """Return DefaultSampler's permutation (length,)."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    order = torch.randperm(length, generator=generator)
    return order.to(torch.int32 if length < 2**31 else torch.int64).numpy()
