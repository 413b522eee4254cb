"""Rates by layers; that they are the authors' is tested with DINOv2."""
import pytest
from mmengine.optim import OptimWrapper, build_optim_wrapper

from mmdino.engine.optim import WarmupCosine
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def build(model, **paramwise):
    return build_optim_wrapper(
        model,
        dict(
            constructor='mmdino.LayerDecayConstructor',
            optimizer=dict(type='SGD', lr=.1, weight_decay=.04),
            paramwise_cfg=dict(
                bias_decay_mult=0., flat_decay_mult=0., **paramwise)))


def rates(model, wrapper):
    names = {p: name for name, p in model.named_parameters()}
    return {
        names[p]: group['lr']
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }


def test_rates_of_a_dino():
    model = MODELS.build(model_cfg())
    wrapper = build(model, layer_decay_rate=.5, patch_embed_lr_mult=.1)
    rate = rates(model, wrapper)
    for name, expected in {
            'head.mlp.0.weight': .1,
            'backbone.ln1.weight': .1,
            'backbone.layers.1.attn.qkv.weight': .05,
            'backbone.layers.0.attn.qkv.bias': .025,
            'backbone.pos_embed': .0125,
            'backbone.cls_token': .0125,
            'backbone.patch_embed.projection.weight': .00125
    }.items():
        assert rate[name] == pytest.approx(expected, rel=1e-12), name
    assert len(wrapper.optimizer.param_groups) == 9
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert rate.keys() == trained


def test_without_factors_the_groups_are_two():
    model = MODELS.build(model_cfg())
    assert len(build(model).optimizer.param_groups) == 2


def test_the_whole_schedule_is_scaled():
    """What the rate falls to as well, whatever group has the largest."""
    model = MODELS.build(model_cfg())
    model.head.requires_grad_(False)
    model.backbone.ln1.requires_grad_(False)
    wrapper = build(model, layer_decay_rate=.5)
    assert isinstance(wrapper, OptimWrapper)
    scheduler = WarmupCosine(wrapper, epoch_length=5, end=2, end_lr=.01)
    groups = wrapper.optimizer.param_groups
    scales = [group['lr_scale'] for group in groups]
    assert max(scales) < 1
    for rate in (.1, .01):
        assert [g['lr'] for g in groups
                ] == pytest.approx([rate * scale for scale in scales])
        for _ in range(10):
            scheduler.step()


@pytest.mark.parametrize('name', ['layer_decay_rate', 'patch_embed_lr_mult'])
def test_bad_factor(name):
    with pytest.raises(ValueError, match=f'{name} must be > 0, got 0'):
        build(MODELS.build(model_cfg()), **{name: 0})


def test_a_backbone_without_depths():
    cfg = model_cfg(
        backbone=dict(type='mmdino.TimmBackbone', model_name='resnet18'))
    with pytest.raises(ValueError, match='get_layer_depth, such as .*Timm'):
        build(MODELS.build(cfg))
