"""The scheduler against closed forms, and what it resumes."""
import numpy as np
import pytest
import torch
from mmengine.optim import LinearLR, OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

from mmdino.engine.optim import WarmupCosine


def wrapper(lr=1., decay=.04):
    groups = [
        dict(params=[torch.nn.Parameter(torch.zeros(1))], weight_decay=decay),
        dict(params=[torch.nn.Parameter(torch.zeros(1))], weight_decay=0.),
    ]
    return OptimWrapper(torch.optim.SGD(groups, lr=lr))


def values(scheduler, steps):
    groups = scheduler.optimizer.param_groups
    seen = []
    for _ in range(steps):
        seen.append([g[k] for g in groups[:2] for k in ('lr', 'weight_decay')])
        scheduler.step()
    return np.array(seen)


def test_values_of_each_step():
    scheduler = WarmupCosine(
        wrapper(),
        epoch_length=5,
        end=4,
        warmup_epochs=2,
        end_lr=.1,
        end_weight_decay=.4)
    seen = values(scheduler, 23)
    falling = .1 + .9 * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    rate = np.concatenate([np.linspace(0, 1, 10), falling])
    decay = .4 - .36 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    for column, expected in enumerate((rate, decay, rate, 0 * decay)):
        np.testing.assert_allclose(seen[:20, column], expected, atol=1e-12)
    np.testing.assert_allclose(seen[20:], 3 * [[.1, .4, .1, 0]], atol=1e-12)


def test_groups_keep_their_ratios():
    optimizer = wrapper()
    optimizer.param_groups[1].update(lr=.5, weight_decay=.01)
    scheduler = WarmupCosine(
        optimizer, epoch_length=3, end=3, end_lr=.1, end_weight_decay=.08)
    seen = values(scheduler, 9)
    np.testing.assert_allclose(seen[:, 2], seen[:, 0] / 2)
    np.testing.assert_allclose(seen[:, 3], seen[:, 1] / 4)


def test_what_stays_constant():
    seen = values(WarmupCosine(wrapper(), epoch_length=2, end=3), 6)
    assert seen[0, 0] == 1 and set(seen[:, 1]) == {.04}
    assert set(seen[:, 3]) == {0}


@pytest.mark.parametrize('warmup', [3, 4, -1])
def test_a_warm_up_that_leaves_nothing(warmup):
    with pytest.raises(
            ValueError,
            match='warm-up of .* must be shorter than the training of 3'):
        WarmupCosine(wrapper(), epoch_length=2, end=3, warmup_epochs=warmup)


def test_no_decay_to_rise_from():
    with pytest.raises(ValueError, match='from a weight decay of 0'):
        WarmupCosine(
            wrapper(decay=0.), epoch_length=2, end=3, end_weight_decay=.4)


def test_a_resumed_run_follows_its_own_config():
    """More epochs, another rate and decay: values of the new run."""
    old = WarmupCosine(wrapper(), epoch_length=5, end=4)
    values(old, 7)
    assert old.state_dict() == dict(last_step=7)
    optimizer = wrapper(lr=2., decay=.1)
    new = WarmupCosine(optimizer, epoch_length=5, end=8, warmup_epochs=1)
    expected = values(
        WarmupCosine(
            wrapper(lr=2., decay=.1), epoch_length=5, end=8, warmup_epochs=1),
        12)
    optimizer.load_state_dict(old.optimizer.state_dict())
    new.load_state_dict(old.state_dict())
    np.testing.assert_allclose(values(new, 5), expected[7:])


def old_state(steps, **kwargs):
    init_default_scope('mmdino')
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LinearLR', end=2, **kwargs),
        default_args=dict(optimizer=wrapper(), epoch_length=5))
    assert isinstance(scheduler, LinearLR)
    for _ in range(steps):
        scheduler.optimizer._global_step += 1
        scheduler.step()
    return scheduler.state_dict()


def test_states_of_mmengine():
    """Its schedulers count on where they no longer change anything."""
    scheduler = WarmupCosine(wrapper(), epoch_length=5, end=4)
    scheduler.load_state_dict(old_state(13, convert_to_iter_based=True))
    assert scheduler.last_step == 13
    with pytest.raises(ValueError, match='counted epochs'):
        scheduler.load_state_dict(old_state(2))


def test_a_small_batch_does_not_lower_the_end():
    """MMEngine scales all groups but the one that it keeps for the log."""
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [dict(params=[p], weight_decay=w) for p, w in zip(params, (0, 1))]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=.1))
    assert wrapper.base_param_settings
    for group in wrapper.optimizer.param_groups:
        group['lr'] *= .5
    scheduler = WarmupCosine(wrapper, epoch_length=4, end=1, end_lr=.01)
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(.05)
    for _ in range(4):
        wrapper.optimizer._global_step = 1
        scheduler.step()
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(.01)
