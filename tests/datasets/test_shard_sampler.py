"""Orders of samples that begin anywhere and hold no list."""
import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner.runner import _SlicedDataset

from mmdino.datasets import SeededSampler, ShardSampler
from mmdino.datasets.seeded import iterate_default


class Sharded:
    """Shards of so many samples each."""

    def __init__(self, *sizes):
        self.shard_starts = np.cumsum([0, *sizes])

    def __len__(self):
        return int(self.shard_starts[-1])


def orders(sizes, world_size, epoch=0, **kwargs):
    """Of all ranks."""
    found = []
    for rank in range(world_size):
        sampler = ShardSampler(Sharded(*sizes), seed=5, **kwargs)
        sampler.rank, sampler.world_size = rank, world_size
        if kwargs.get('round_up', True):
            sampler._total = -(-sum(sizes) // world_size) * world_size
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
        for start in range(len(sampler) + 1):
            assert list(sampler.iterate(start)) == found[-1][start:]
    return found


@pytest.mark.parametrize('world_size', [1, 2, 3, 7])
@pytest.mark.parametrize('sizes', [(5, ), (3, 4, 0, 6, 1), (1, 1)])
@pytest.mark.parametrize('shuffle', [True, False])
def test_every_sample_once(sizes, world_size, shuffle):
    whole, = orders(sizes, 1, window=2, shuffle=shuffle)
    assert sorted(whole) == list(range(sum(sizes)))
    parts = orders(sizes, world_size, window=2, shuffle=shuffle)
    together = [i for row in zip(*parts) for i in row]
    expected = whole * world_size
    assert together == expected[:len(together)]
    parts = orders(
        sizes, world_size, window=2, shuffle=shuffle, round_up=False)
    assert sorted(sum(parts, [])) == list(range(sum(sizes)))


def test_windows_of_shards():
    sizes = [10] * 8
    order, = orders(sizes, 1, window=2)
    windows = np.array(order).reshape(4, 20)
    shards = [set(window // 10) for window in windows]
    assert all(len(pair) == 2 for pair in shards)
    assert set().union(*shards) == set(range(8))
    assert (np.sort(windows[0]) != windows[0]).any()
    assert orders(sizes, 1, window=2) == [order]
    assert orders(sizes, 1, window=2, epoch=1) != [order]
    assert orders(sizes, 1, shuffle=False) == [list(range(80))]


@pytest.mark.parametrize('length', [1, 4, 7, 13])
@pytest.mark.parametrize('shuffle', [True, False])
def test_a_data_set_that_is_cut_short(length, shuffle):
    """MMEngine does so for num_batch_per_epoch."""
    part = _SlicedDataset(Sharded(3, 4, 0, 6), length)
    sampler = ShardSampler(part, shuffle, seed=0, window=1)
    assert len(sampler) == length
    assert sorted(sampler) == list(range(length))


def test_a_data_set_without_shards():
    with pytest.raises(TypeError, match='type="Shards", got range'):
        ShardSampler(range(3), seed=0)
    with pytest.raises(ValueError, match='window must be 1 or more'):
        ShardSampler(Sharded(3), seed=0, window=0)


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize('length,world_size', [(10, 1), (10, 3), (2, 5)])
def test_the_default_order_as_an_array(shuffle, round_up, length, world_size,
                                       monkeypatch):
    for rank in range(world_size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda:
                            (rank, world_size))
        sampler = DefaultSampler(range(length), shuffle, 3, round_up)
        sampler.set_epoch(2)
        expected = list(sampler)
        for start in range(len(expected) + 1):
            ours = list(iterate_default(sampler, start, chunk=2))
            assert ours == expected[start:]


@pytest.mark.parametrize('kind', ['DefaultSampler', 'ShardSampler'])
def test_the_seeded_sampler_begins_anywhere(kind):
    sampler = SeededSampler(
        Sharded(3, 4), dict(type=kind, shuffle=True), seed=3)
    sampler.set_epoch(1)
    whole = list(sampler)
    assert sorted(key.index for key in whole) == list(range(7))
    sampler.start = 4
    assert list(sampler) == whole[4:]
