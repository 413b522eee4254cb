"""The data loaders that the resumable loop takes."""
import pytest

from mmdino.datasets.seeded import SeededSampler
from mmdino.engine.longrun.loop import _seeded

LOADER = dict(
    batch_size=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RandomViews'))


def test_no_batch_sampler():
    seeded = _seeded(dict(LOADER, batch_sampler=None))
    assert seeded['sampler']['sampler'] == LOADER['sampler']


@pytest.mark.parametrize('changes,message', [
    (dict(sampler=None), 'got no sampler in .*EpochBasedTrainLoop'),
    (dict(batch_sampler=dict(type='A')), 'without a batch_sampler, got '),
])
def test_loaders_of_another_kind(changes, message):
    with pytest.raises(TypeError, match=message):
        _seeded(dict(LOADER, **changes))
    without = {k: v for k, v in LOADER.items() if k != 'sampler'}
    with pytest.raises(TypeError, match='got no sampler in '):
        _seeded(without)


def test_a_sampler_without_end():
    with pytest.raises(ValueError, match='never ends an epoch.*DefaultSamp'):
        SeededSampler(range(4), dict(type='InfiniteSampler'), seed=0)
