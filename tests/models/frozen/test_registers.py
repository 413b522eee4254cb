"""Registers are no patches: features, segmentation, rates, training."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from mmdino.functional.retrieval import gem
from mmdino.registry import MODELS
from tests.tiny import model_cfg, runner_cfg

V2 = dict(
    num_registers=3,
    with_mask_token=True,
    layer_scale_init_value=1e-5,
    cls_token_std=1e-6,
    drop_path_rate=.2,
    drop_path_uniform=True)
BACKBONE = dict(model_cfg()['backbone'], **V2)


def build(kind='FrozenTeacher', **settings):
    model = MODELS.build(dict(type=kind, backbone=BACKBONE, **settings))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    return model


@pytest.mark.parametrize('features, pool', [
    ('ClassAndPatchFeatures', lambda patches: patches.mean(1)),
    ('ClassAndGeMFeatures', gem),
])
def test_features(features, pool):
    model = build(features=dict(type=features))
    images = torch.randn(2, 3, 48, 32)
    tokens, = model.tokens(images)
    assert tokens.shape == (2, 1 + 3 + 24, 24)
    got = model.features(images)
    pooled = pool(tokens[:, 4:])
    wanted = torch.cat([tokens[:, 0], pooled], 1)
    if features == 'ClassAndPatchFeatures':
        wanted = torch.stack([tokens[:, 0], pooled], 2).flatten(1)
    torch.testing.assert_close(got, wanted)


def test_segmented_videos():
    model = build('VideoSegmenter')
    frame = torch.randn(3, 48, 32)
    features = model._patch_features(frame)
    tokens, = model.tokens(frame[None])
    wanted = torch.nn.functional.normalize(tokens[0, 4:], dim=1)
    torch.testing.assert_close(features, wanted.view(6, 4, 24))


def test_layer_wise_rates():
    model = MODELS.build(model_cfg(backbone=BACKBONE))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='mmdino.BackboneLayerDecayConstructor',
            optimizer=dict(type='AdamW', lr=1., weight_decay=.04),
            paramwise_cfg=dict(layer_decay_rate=.5, flat_decay_mult=0.)))
    names = {p: n for n, p in model.named_parameters()}
    rates, decays = {}, {}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            rates[names[parameter]] = group['lr']
            decays[names[parameter]] = group['weight_decay']
    for token in ('register_tokens', 'mask_token', 'cls_token', 'pos_embed'):
        assert rates[f'backbone.{token}'] == .5**3
        assert decays[f'backbone.{token}'] == .04
    for block in (0, 1):
        gamma = f'backbone.layers.{block}.attn.gamma1.weight'
        assert rates[gamma] == .5**(2 - block)
        assert decays[gamma] == 0
    assert rates['head.mlp.0.weight'] == 1


def test_training_without_masks(tmp_path):
    cfg = runner_cfg(tmp_path, epochs=1, backbone=BACKBONE)
    runner = Runner.from_cfg(cfg)
    runner.train()
    model = runner.model
    assert not model.backbone.mask_token.any()
    assert model.teacher.backbone.register_tokens.any()
    # It had a gradient, of zero: DDP would wait for one.
    state = runner.optim_wrapper.optimizer.state
    assert state[model.backbone.mask_token]['step'] == 2
