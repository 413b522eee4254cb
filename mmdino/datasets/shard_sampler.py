"""A sampler that reads shards one window after the other."""
import math
from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler

from mmdino.registry import DATA_SAMPLERS

# Ends of the keys that seed the order of shards and the order of samples.
# Not 0: NumPy pads keys with zeros.
_OF_SHARDS, _OF_SAMPLES = 1, 2


@DATA_SAMPLERS.register_module()
class ShardSampler(Sampler):
    """Shuffle shards, and samples within windows of a few shards.

    The shards are shuffled. Then the samples of ``window`` shards at a time
    are mixed and read by all processes together: the disk reads each file once
    an epoch, and the few open files fit in the page cache. The order depends
    on (seed, epoch) alone and is computed one window at a time. A long data
    set needs no more memory, and resuming in the middle of an epoch takes no
    more time.

    As in MMEngine's DefaultSampler, the processes take the samples in turn:
    with any number of processes, an iteration trains on the same samples.
    With ``num_batch_per_epoch`` of a data loader they are the first ones.

    Args:
        dataset: A data set with ``shard_starts``, (S + 1,), or a wrapper of
            such a data set, as ``dataset``.
        shuffle: Whether to shuffle; else the samples keep their order.
        seed: Seed of the order, the same on all processes; by default random.
        round_up: Whether to repeat the first samples so that all processes
            have the same number.
        window: Number of shards whose samples are mixed.

    Raises:
        TypeError: If the data set has no shards.
        ValueError: If ``window`` is below 1.
    """

    def __init__(self,
                 dataset: Dataset,
                 shuffle: bool = True,
                 seed: int | None = None,
                 round_up: bool = True,
                 window: int = 16) -> None:
        if window < 1:
            raise ValueError(f'window must be 1 or more shards, got {window}')
        self.starts = _shard_starts(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.window = window
        self.epoch = 0
        self.rank, self.world_size = get_dist_info()
        length = int(self.starts[-1])
        self._total = length
        if round_up:
            self._total = (
                math.ceil(length / self.world_size) * self.world_size)

    def __len__(self) -> int:
        """Return the number of samples of this process in an epoch."""
        return math.ceil((self._total - self.rank) / self.world_size)

    def __iter__(self) -> Iterator[int]:
        return self.iterate()

    def iterate(self, start: int = 0) -> Iterator[int]:
        """Iterate the samples of this process in the epoch.

        Args:
            start: Number of samples of this process to skip.
        """
        shards = self._shards()
        ends = np.cumsum(np.diff(self.starts)[shards])
        ends = np.append(ends[self.window - 1:-1:self.window], ends[-1])
        position, length = self.rank + start * self.world_size, ends[-1]
        while position < self._total:
            place = position % length
            number = int(np.searchsorted(ends, place, side='right'))
            order = self._window(shards, number)
            begin = ends[number] - len(order)
            count = math.ceil((self._total - position) / self.world_size)
            own = order[place - begin::self.world_size][:count]
            yield from own.tolist()
            position += len(own) * self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order."""
        self.epoch = epoch

    def _shards(self) -> np.ndarray:
        """Return the shards (S,) in the order of the epoch."""
        shards = np.arange(len(self.starts) - 1)
        return self._generator(_OF_SHARDS).permutation(
            shards) if self.shuffle else shards

    def _window(self, shards: np.ndarray, number: int) -> np.ndarray:
        """Return the samples of a window of shards in the order of the epoch.
        """
        chosen = shards[number * self.window:(number + 1) * self.window]
        order = np.concatenate(
            [np.arange(*self.starts[s:s + 2]) for s in chosen])
        if self.shuffle:
            self._generator(number, _OF_SAMPLES).shuffle(order)
        return order

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, *key])


def _shard_starts(dataset: Dataset) -> np.ndarray:
    """Return ``shard_starts`` of a data set or of the one that it wraps.

    They end at the length of the outer one.
    """
    outer = dataset
    while not hasattr(dataset, 'shard_starts'):
        if not hasattr(dataset, 'dataset'):
            raise TypeError(
                'ShardSampler needs a data set of shards, such as '
                f'type="Shards", got {type(outer).__name__} with '
                f'{type(dataset).__name__}: use DefaultSampler for it')
        dataset = dataset.dataset
    # MMEngine cuts a data set by its length alone.
    return np.minimum(np.asarray(dataset.shard_starts, np.int64), len(outer))
