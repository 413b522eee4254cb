"""Augmentations that depend on seed, epoch and index only."""
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
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

    The augmentations are then the same with any number of workers and
    processes.

    Args:
        dataset: Config of the inner data set.
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

    To resume in the middle of an epoch it skips samples. This costs no time
    with MMEngine's DefaultSampler, whose order is held as an array (4 bytes a
    sample on each process), and with samplers that have ``iterate(start)``,
    such as ShardSampler. Other samplers are iterated from their beginning.

    Args:
        dataset: The data set.
        sampler: Config of the other sampler.
        seed: Seed of the order and of the augmentations.

    Raises:
        ValueError: If the other sampler never ends.

    Attributes:
        start (int): Number of samples to skip at the beginning of an epoch.
    """

    def __init__(self, dataset: Dataset, sampler: dict,
                 seed: int | None) -> None:
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=seed))
        if isinstance(self.sampler, InfiniteSampler):
            raise ValueError(
                f'{sampler} never ends an epoch, and ResumableTrainLoop '
                'counts epochs: use '
                "train_dataloader.sampler.type='DefaultSampler', or "
                "train_cfg.type='IterBasedTrainLoop' with max_iters.")
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
    """Yield the indices of a DefaultSampler, without a list of all of them.

    The permutation is an array of 4 bytes a sample (8 from 2^31 samples on),
    where DefaultSampler's list of Python integers takes about 40 bytes.

    Args:
        sampler: The sampler.
        start: Number of indices to skip.
        chunk: Number of indices that are converted to integers at a time.
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
