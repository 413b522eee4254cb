"""Backbones that no other library knows are read as well."""
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.apis import get_model
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def test_a_convolutional_stem(tmp_path):
    init_default_scope('mmdino')
    cfg = Config(dict(model=model_cfg(backbone__stem=dict(type='ConvStem'))))
    state = MODELS.build(cfg.model).state_dict()
    path = tmp_path / 'stem.pth'
    torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), path)
    model = get_model(checkpoint=str(path), device='cpu')
    assert 'teacher.backbone.patch_embed.convs.0.weight' in state
    for name, weight in model.state_dict().items():
        assert weight.equal(state[name])
