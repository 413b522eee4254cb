import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPERS

import mmdino.engine.optim  # noqa: F401
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def build(model, constructor='mmdino.MergedGroupsConstructor', max_norm=.5):
    return build_optim_wrapper(
        model,
        dict(
            type='mmdino.PerNetworkClipOptimWrapper',
            constructor=constructor,
            optimizer=dict(type='SGD', lr=1.),
            clip_grad=dict(max_norm=max_norm)))


@pytest.mark.parametrize(
    'constructor',
    ['mmdino.MergedGroupsConstructor', 'mmdino.LayerDecayConstructor'])
def test_each_network_by_its_total_norm(constructor):
    """As torch clips the parameters of each; a small one is left alone."""
    model = MODELS.build(model_cfg())
    wrapper = build(model, constructor)
    assert [*wrapper.networks] == ['backbone', 'head']
    for part, scale in ((model.backbone, 3.), (model.head, 1e-4)):
        for p in part.parameters():
            if p.requires_grad:
                p.grad = scale * torch.randn_like(p)
    model.backbone.pos_embed.grad = None
    before = [p.grad for p in model.parameters() if p.grad is not None]
    before = [g.clone() for g in before]
    wrapper._clip_grad()
    ours = [p.grad for p in model.parameters() if p.grad is not None]
    norms = [torch.stack([g.norm() for g in before]).norm()]
    torch.testing.assert_close(wrapper.grad_norm, norms[0])
    grads = iter(before)
    for part in (model.backbone, model.head):
        params = [p for p in part.parameters() if p.grad is not None]
        for p in params:
            p.grad = next(grads)
        torch.nn.utils.clip_grad_norm_(params, .5)
    theirs = [p.grad for p in model.parameters() if p.grad is not None]
    for pair in zip(ours, theirs):
        torch.testing.assert_close(*pair)


def test_another_constructor_is_refused():
    model = MODELS.build(model_cfg())
    wrapper = build(model, 'DefaultOptimWrapperConstructor')
    with pytest.raises(ValueError, match='does not know the parts.*: set opt'):
        wrapper.update_params(model.head.mlp[0].weight.sum())


def test_bad_norm():
    with pytest.raises(ValueError, match='max_norm must be > 0, got 0'):
        OPTIM_WRAPPERS.build(
            dict(
                type='mmdino.PerNetworkClipOptimWrapper',
                optimizer=torch.optim.SGD([torch.zeros(1)], lr=1.),
                clip_grad=dict(max_norm=0)))
