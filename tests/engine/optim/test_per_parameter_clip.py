import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS

import mmdino.engine.optim  # noqa: F401
from mmdino.engine.optim.clipping import clip_each_grad_norm_


def test_each_gradient_by_itself():
    grads = [torch.randn(n, 3).double() * n for n in (1, 2, 9)]
    grads += [torch.zeros(2).double(), torch.full((1, ), .1).double()]
    before = [g.clone() for g in grads]
    norms = clip_each_grad_norm_(grads, 1.5)
    for grad, old, norm in zip(grads, before, norms):
        torch.testing.assert_close(norm, old.norm())
        factor = 1.5 / (old.norm() + 1e-6)
        expected = old * factor if factor < 1 else old
        torch.testing.assert_close(grad, expected, rtol=0, atol=1e-15)


def test_wrapper_clips_and_keeps_the_norm():
    params = [torch.zeros(4, requires_grad=True) for _ in range(3)]
    unused = torch.zeros(1, requires_grad=True)
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='mmdino.PerParameterClipOptimWrapper',
            optimizer=torch.optim.SGD([*params, unused], lr=1.),
            clip_grad=dict(max_norm=.5)))
    weights = torch.tensor([0.1, 1., 10.])
    loss = sum(w * p.sum() for w, p in zip(weights, params))
    wrapper.update_params(loss)
    moved = torch.stack([p.detach().norm() for p in params])
    torch.testing.assert_close(moved, torch.tensor([.2, .5, .5]))
    torch.testing.assert_close(wrapper.grad_norm, 2 * weights.norm())


def wrapper_of(kind='PerParameterClip', **clip_grad):
    return OPTIM_WRAPPERS.build(
        dict(
            type=f'mmdino.{kind}OptimWrapper',
            optimizer=torch.optim.SGD([torch.zeros(1)], lr=1.),
            clip_grad=clip_grad))


@pytest.mark.parametrize('kind',
                         ['PerParameterClip', 'PerNetworkClipBFloat16'])
def test_settings_that_change_nothing(kind):
    wrapper = wrapper_of(
        kind, max_norm=3., type='norm', norm_type=2., error_if_nonfinite=False)
    assert wrapper.clip_grad_kwargs == dict(max_norm=3.)


@pytest.mark.parametrize('clip_grad,message', [
    (dict(max_norm=3., norm_type=1), 'clip_grad.norm_type=1: .* max_norm'),
    (dict(max_norm=3., error_if_nonfinite=True), 'error_if_nonfinite=True'),
    (dict(type='value', clip_value=1.), "clip_grad.type='value': .* max_norm"),
    (dict(max_norm=3., foreach=True), 'clip_grad.foreach=True'),
    (dict(norm_type=2), 'has no max_norm'),
])
def test_clipping_of_another_kind_is_refused(clip_grad, message):
    with pytest.raises(ValueError, match=message):
        wrapper_of(**clip_grad)
