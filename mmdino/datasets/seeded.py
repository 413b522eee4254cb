"""Augmentations that depend on seed, epoch and index alone."""
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from torch.utils.data import Dataset, Sampler

from mmdino.registry import DATA_SAMPLERS, DATASETS
from mmdino.utils.randomness import seeded


class SampleKey(NamedTuple):
    """A sample to load, and what its augmentations are drawn by."""
    index: int
    epoch: int
    seed: int


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A data set whose random numbers are those of the :class:`SampleKey`.

    So they are the same with any number of workers and processes.

    Args:
        dataset (dict): Config of the data set.
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
    """Yield the :class:`SampleKey` of what another sampler yields.

    Args:
        dataset (Dataset): The data set.
        sampler (dict): Config of the other sampler.
        seed (int, optional): For its order and for the samples.

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
        for index in islice(self.sampler, self.start, None):
            yield SampleKey(index, self.epoch, self.seed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order and random numbers."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def set_seed(self, seed: int) -> None:
        """Choose the order and the random numbers of all epochs."""
        self.seed = self.sampler.seed = seed
