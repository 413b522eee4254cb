"""Adapters: the base stays, is there once, and comes out merged."""
import copy
import shutil

import pytest
import torch
import torch.nn.functional as F

from mmdino.engine.fsdp import FSDPStrategy
from mmdino.engine.launch import build_runner
from mmdino.models import DINO, AnchorLoss, FrozenTeacher, LoRALinear
from mmdino.models.lora import LoRA, adapters_off
from mmdino.registry import MODELS, build_module
from mmdino.weights import CheckpointError, load_checkpoint, open_weights
from mmdino.weights.adapters import is_adapter
from tests.launching import (assert_close, checkpoint, job_cfg, losses_of,
                             train_on_two, write)
from tests.resuming import (StopAfter, assert_same, end_of, random_cfg, train,
                            train_interruptibly)
from tests.tiny import model_cfg, runner_cfg
from tests.tiny_v2 import V2, as_dinov2

CONFIG = dict(type='LoRA', rank=4, alpha=8.)
TIMM = dict(
    type='mmdino.TimmBackbone',
    model_name='vit_tiny_patch16_224',
    img_size=32,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=3)


def build(lora=CONFIG, **changes) -> DINO:
    model = MODELS.build(model_cfg(lora=dict(lora), **changes))
    model.init_weights()
    return model


def stir(model):
    """As after a training."""
    for name, parameter in model.named_parameters():
        if is_adapter(name):
            parameter.data.normal_(std=.3)


def base_of(path):
    """The frozen tensors of a checkpoint that has them."""
    return {
        key: value
        for key, value in load_checkpoint(str(path))['state_dict'].items()
        if 'backbone.' in key and not is_adapter(key)
    }


@pytest.fixture
def start(tmp_path):
    """A checkpoint that stands for a published one."""
    path = tmp_path / 'published.pth'
    cfg = runner_cfg(tmp_path / 'base', epochs=1)
    cfg.launcher = 'none'
    build_runner(cfg).train()
    shutil.copy(tmp_path / 'base/epoch_1.pth', path)
    return str(path)


def adapted_cfg(tmp_path, start, **changes):
    cfg = runner_cfg(tmp_path / 'run', lora=dict(CONFIG), **changes)
    cfg.launcher, cfg.load_from = 'none', start
    cfg.optim_wrapper.optimizer.lr = .02
    cfg.auto_scale_lr.enable = False
    return cfg


@pytest.mark.parametrize('backbone', [model_cfg()['backbone'], TIMM])
def test_it_is_the_base_at_first_and_keeps_its_names(backbone):
    plain, adapted = build_module(backbone), build_module(backbone)
    adapted.load_state_dict(plain.state_dict())
    LoRA(rank=4)(adapted)
    names = [k for k in adapted.state_dict() if not is_adapter(k)]
    assert names == [*plain.state_dict()]
    layers = [m for m in adapted.modules() if isinstance(m, LoRALinear)]
    assert len(layers) == 4
    trained = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) == 8 and all(map(is_adapter, trained))
    images = torch.randn(2, 3, 32, 32)
    plain.eval(), adapted.eval()
    assert torch.equal(plain(images)[0], adapted(images)[0])
    stir(adapted)
    after = adapted(images)[0]
    assert not torch.allclose(after, plain(images)[0])
    with adapters_off(adapted):
        assert torch.equal(plain(images)[0], adapted(images)[0])
    assert torch.equal(adapted(images)[0], after)


def test_names_that_no_layer_has():
    with pytest.raises(ValueError, match=r"'attn.query'.*attn.qkv.*targets"):
        build(dict(CONFIG, targets=['attn.query']))
    with pytest.raises(ValueError, match='rank must be > 0, got 0'):
        LoRA(rank=0)


def storages(module):
    return {p.untyped_storage().data_ptr() for p in module.parameters()}


def test_both_networks_have_one_base():
    model = build()

    def check():
        ours, theirs = storages(model.backbone), storages(
            model.teacher.backbone)
        adapters = sum(map(is_adapter, model.backbone.state_dict()))
        assert len(ours - theirs) == len(theirs - ours) == adapters == 8

    check()
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state, assign=True)
    check()
    model = copy.deepcopy(model).double()
    check()
    model.init_weights()
    check()


def test_the_average_is_of_the_adapters():
    model = build()
    stir(model.backbone)
    before = copy.deepcopy(model.state_dict())
    model.update_teacher(.75)
    for key, value in model.teacher.backbone.state_dict().items():
        old = before[f'teacher.backbone.{key}']
        if is_adapter(key):
            torch.testing.assert_close(
                value, .75 * old + .25 * before[f'backbone.{key}'])
            assert not torch.equal(value, old)
        else:
            assert torch.equal(value, old)


def test_statistics_of_a_stem_are_the_bases():
    model = build(backbone__stem=dict(type='mmdino.ConvStem'))
    before = copy.deepcopy(model.backbone.state_dict())
    model.train()
    model([torch.randn(3, 3, 32, 32) for _ in range(2)], mode='loss')
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('changes', [dict(), V2], ids=['DINO', 'DINOv2'])
def test_training_leaves_the_base_as_it_was(tmp_path, changes):
    cfg = runner_cfg(tmp_path / 'base', epochs=1, **changes)
    cfg.launcher = 'none'
    build_runner(as_dinov2(cfg) if changes else cfg).train()
    start = str(tmp_path / 'base/epoch_1.pth')
    changes = dict(changes, lora__save_base=True)
    cfg = adapted_cfg(
        tmp_path, start, anchor=dict(type='AnchorLoss'), **changes)
    runner = build_runner(as_dinov2(cfg) if len(changes) > 1 else cfg)
    runner.train()
    old, new = base_of(start), base_of(tmp_path / 'run/epoch_2.pth')
    assert old.keys() == new.keys()
    for key, value in new.items():
        teachers = 'teacher.' + key.removeprefix('teacher.')
        assert torch.equal(value, old[teachers]), key
    for network in (runner.model.backbone, runner.model.teacher.backbone):
        assert all(p.any() for n, p in network.named_parameters()
                   if is_adapter(n))
    # Moments of what is trained alone.
    moments = runner.optim_wrapper.optimizer.state
    assert all(p.requires_grad for p in moments)


def test_the_merged_network_is_the_adapted_one(tmp_path, start, float64):
    cfg = adapted_cfg(tmp_path, start)
    cfg.model.data_preprocessor.type = 'DoublePreprocessor'
    runner = build_runner(cfg)
    runner.train()
    images = torch.randn(2, 3, 32, 32)
    path = str(tmp_path / 'run/epoch_2.pth')
    frozen = FrozenTeacher(path)
    runner.model.eval()
    expected = runner.model.extract_feat(images)
    torch.testing.assert_close(
        frozen.features(images), expected, rtol=0, atol=1e-6)
    assert not any(map(is_adapter, frozen.state_dict()))
    with adapters_off(runner.model.teacher.backbone):
        assert (runner.model.extract_feat(images) -
                expected).abs().max() > 1e-3
    snapshot = open_weights(path).part('backbone')
    for key, value in frozen.backbone.state_dict().items():
        assert torch.equal(snapshot[key], value)


def test_adapters_alone_name_their_base(tmp_path, start):
    build_runner(adapted_cfg(tmp_path, start, epochs=1)).train()
    path = tmp_path / 'run/epoch_1.pth'
    assert base_of(path) == {}
    told = load_checkpoint(str(path))['meta']['adapters']
    assert told['scale'] == 2. and told['base']['name'] == start
    expected = open_weights(str(path)).state
    shutil.move(start, path.parent / 'published.pth')  # beside them
    moved = open_weights(str(path)).state
    assert_same(moved, expected)
    other = load_checkpoint(str(path.parent / 'published.pth'))
    other['state_dict']['teacher.backbone.cls_token'] += 1
    torch.save(other, start)
    with pytest.raises(CheckpointError, match='adapters of another .*SHA-256'):
        open_weights(str(path))
    (path.parent / 'published.pth').unlink()
    shutil.move(start, tmp_path / 'elsewhere.pth')
    with pytest.raises(CheckpointError, match='adapters of .*published.pth'):
        open_weights(str(path))
    state = load_checkpoint(str(path))
    del state['meta']['adapters']
    torch.save(state, path)
    with pytest.raises(CheckpointError, match='does not tell their scale'):
        open_weights(str(path))


def test_stopped_anywhere_it_ends_the_same(tmp_path, start):
    ends = []
    for name, stops in dict(whole=[], stopped=[2, 7]).items():
        folder = tmp_path / name
        cfg = random_cfg(folder)
        cfg.model.lora = dict(CONFIG)
        cfg.model.head = model_cfg()['head']
        cfg.load_from, cfg.resume = start, 'auto'
        for iteration in stops:
            with pytest.raises(SystemExit):
                train_interruptibly(cfg, StopAfter(iteration))
        train(cfg)
        ends.append(end_of(folder))
    assert_same(*ends)


def test_resuming_with_another_scale_is_refused(tmp_path, start):
    cfg = adapted_cfg(tmp_path, start, epochs=1)
    build_runner(copy.deepcopy(cfg)).train()
    cfg.model.lora.alpha = 4.
    cfg.resume, cfg.train_cfg.max_epochs = 'auto', 2
    cfg.experiment_name += '_resumed'
    with pytest.raises(CheckpointError, match='scaled by 2.0.*= 1.0'):
        build_runner(cfg).train()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path, start, float64):
    ends = []
    for name, batch_size in dict(one=4, two=2).items():
        cfg = job_cfg(
            tmp_path / name, batch_size=batch_size, lora=dict(CONFIG))
        cfg.load_from = start
        if name == 'one':
            cfg.launcher = 'none'
            build_runner(cfg).train()
        else:
            train_on_two(write(cfg, tmp_path / name))
        ends.append((losses_of(tmp_path / name / 'run'),
                     checkpoint(tmp_path / name / 'run')))
    (losses, end), (expected, one) = ends[::-1]
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-6)
    assert_close(end, one)


def test_fsdp_is_refused():
    strategy = FSDPStrategy.__new__(FSDPStrategy)
    with pytest.raises(ValueError, match='share a backbone.*use DDP'):
        strategy._wrap_model(build())


def test_anchor_is_the_formula_and_none_at_first():
    loss = AnchorLoss(cosine_weight=2., gram_weight=3.)
    ours, base = torch.randn(2, 2, 5, 4)
    assert loss(base, 7 * base).abs() < 1e-6
    visible = torch.ones(2, 5, dtype=torch.bool)
    visible[0, :3] = False
    cosines, grams = [], []
    for x, y, keep in zip(ours, base, visible):
        x, y = F.normalize(x[keep], dim=-1), F.normalize(y[keep], dim=-1)
        cosines.append(1 - (x * y).sum(-1))
        grams.append((x @ x.T - y @ y.T).square().flatten())
    expected = 2 * torch.cat(cosines).mean() + 3 * torch.cat(grams).mean()
    torch.testing.assert_close(loss(ours, base, visible), expected)
    with pytest.raises(ValueError, match='cosine_weight=0'):
        AnchorLoss(0., 0.)


@pytest.mark.parametrize('changes', [dict(), V2], ids=['DINO', 'DINOv2'])
def test_an_anchor_holds_patches(changes):
    model = build(anchor=dict(type='AnchorLoss'), **changes)
    model.eval()
    crops = [torch.randn(3, 3, s, s) for s in (32, 32, 16)]
    torch.manual_seed(1)
    first = model(crops, mode='loss')
    assert {'loss_cls', 'loss_anchor'} <= first.keys()
    assert first['loss_anchor'].abs() < 1e-6
    stir(model.backbone)
    loss = model(crops, mode='loss')['loss_anchor']
    assert loss > .01
    loss.backward()
    assert model.backbone.layers[0].attn.qkv.lora_a.grad.any()
    model = build(**changes)
    assert not {'loss_anchor'} & model(crops, mode='loss').keys()


def test_an_anchor_needs_adapters():
    with pytest.raises(ValueError, match="set model.lora=dict"):
        MODELS.build(model_cfg(anchor=dict(type='AnchorLoss')))
