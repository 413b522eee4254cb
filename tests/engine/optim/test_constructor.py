from mmengine.optim import build_optim_wrapper

from mmdino.registry import MODELS
from tests.tiny import model_cfg


def groups(constructor, **changes):
    model = MODELS.build(model_cfg(**changes))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor=constructor,
            optimizer=dict(type='AdamW', lr=.1, weight_decay=.04),
            paramwise_cfg=dict(bias_decay_mult=0., flat_decay_mult=0.)))
    names = {p: n for n, p in model.named_parameters()}
    return {
        names[p]: group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }, wrapper.optimizer.param_groups


def test_two_groups_with_the_settings_of_mmengines_many():
    ours, our_groups = groups('mmdino.MergedGroupsConstructor')
    theirs, their_groups = groups('DefaultOptimWrapperConstructor')
    assert ours == theirs
    assert len(our_groups) == 2 < len(their_groups)


def test_what_is_decayed():
    decay, _ = groups(
        'mmdino.MergedGroupsConstructor', head__norm_last_layer=False)
    gain = 'head.last_layer.parametrizations.weight.original0'
    for name in ('backbone.pos_embed', 'backbone.cls_token',
                 'head.mlp.0.weight', gain):
        assert decay[name] == .04, name
    for name in ('backbone.ln1.weight', 'backbone.ln1.bias', 'head.mlp.0.bias',
                 'backbone.layers.0.attn.qkv.bias'):
        assert decay[name] == 0, name
    assert not any(name.startswith('teacher') for name in decay)


def test_frozen_gain_is_left_out():
    decay, _ = groups('mmdino.MergedGroupsConstructor')
    assert not any('original0' in name for name in decay)
