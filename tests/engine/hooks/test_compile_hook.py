"""Compiled backbones train as the others do, in one graph a size."""
import pytest
import torch
from mmengine.runner import Runner
from torch._dynamo.utils import counters

from mmdino.models import VisionTransformer
from tests.tiny import DoublePreprocessor, constant, runner_cfg  # noqa: F401

RESNET = dict(
    type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8)


@pytest.fixture(autouse=True)
def default_stance():
    yield
    torch.compiler.set_stance('default')


def train(work_dir, hooks, **changes):
    cfg = constant(runner_cfg(work_dir, **changes))
    cfg.custom_hooks = hooks
    torch._dynamo.reset()
    counters.clear()
    runner = Runner.from_cfg(cfg)
    runner.model.double()
    runner.train()
    return runner


LEAN = dict(
    backbone__drop_path_rate=.4,
    backbone__drop_path_subset=True,
    backbone__with_cp=True)


@pytest.mark.parametrize(
    'backend,changes', [
        ('eager', dict(backbone__drop_path_rate=.1)),
        ('aot_eager', LEAN),
        ('eager',
         dict(
             backbone=RESNET,
             neck=dict(type='mmpretrain.GlobalAveragePooling'))),
    ],
    ids=['vit', 'vit-subset', 'resnet'])
def test_same_weights_as_without(tmp_path, backend, changes):
    plain = train(tmp_path / 'plain', [], **changes)
    hook = dict(type='CompileHook', backend=backend, fullgraph=True)
    compiled = train(tmp_path / 'compiled', [hook], **changes)
    # Student and teacher, two sizes and one.
    assert counters['stats']['unique_graphs'] == 3
    expected = plain.model.state_dict()
    got = compiled.model.state_dict()
    assert list(got) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, msg=name)


def test_a_backend_that_would_draw_anew(tmp_path):
    hook = dict(type='CompileHook', backend='eager')
    with pytest.raises(ValueError, match="backend='eager'.*'aot_eager'"):
        train(tmp_path, [hook], **LEAN)


@pytest.mark.slow
def test_inductor_gives_the_same_weights(tmp_path):
    """What users run, in float64: fused kernels may round differently."""
    plain = train(tmp_path / 'plain', [])
    compiled = train(tmp_path / 'compiled', [dict(type='CompileHook')])
    expected = plain.model.state_dict()
    for name, value in compiled.model.state_dict().items():
        torch.testing.assert_close(
            value, expected[name], rtol=0, atol=1e-9, msg=name)


def test_validation_is_not_compiled(tmp_path):
    runner = train(tmp_path, [dict(type='CompileHook', backend='eager')])
    graphs = counters['stats']['unique_graphs']
    images = torch.randn(5, 3, 48, 48, dtype=torch.float64)
    runner.call_hook('before_val')
    runner.model(images)
    assert counters['stats']['unique_graphs'] == graphs
    runner.call_hook('after_val')
    runner.model(images)
    assert counters['stats']['unique_graphs'] == graphs + 1


def test_attention_maps_of_a_compiled_backbone(tmp_path):
    runner = train(tmp_path, [dict(type='CompileHook', backend='eager')])
    backbone = runner.model.teacher.backbone
    assert isinstance(backbone, VisionTransformer)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    runner.call_hook('before_val')
    with backbone.recorded_attention() as maps:
        backbone(images)
    runner.call_hook('after_val')
    torch.testing.assert_close(maps[0], backbone.class_attention(images))
