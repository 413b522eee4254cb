"""Trainings that start from trained weights, on a folder of pictures."""
import copy
import shutil

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import METRICS
from PIL import Image

from mmdino.engine.configs import override, read_config
from mmdino.engine.hooks import FreezeBackboneHook, ValidateFirstHook
from mmdino.engine.launch import build_runner
from mmdino.models import FrozenTeacher
from mmdino.registry import DATASETS, MODELS
from mmdino.weights import CheckpointError, convert_file, load_checkpoint
from mmdino.weights.adapters import is_adapter
from tests.tiny import runner_cfg
from tests.tiny_v2 import as_dinov2
from tests.weights.test_continuing import OneView

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=96)
HEAD = dict(
    out_dim=32, hidden_channels=16, bottleneck_channels=8, num_layers=2)
S14 = 'configs/continue/dinov2_vit-s14.py'


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Eight pictures in two classes, of which one has a part of its own."""
    root = tmp_path_factory.mktemp('pictures')
    pixels = np.random.default_rng(0)
    for i in range(10):
        path = root / 'ab'[i % 2] / 'deep' / f'{i}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (60, 70, 3),
                                        np.uint8)).save(path)
    return root


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A tiny DINOv2 backbone in the names of its authors."""
    cfg = small(read_config(S14))
    model = MODELS.build(dict(cfg.model, type='mmdino.DINOv2'))
    model.init_weights()
    with torch.no_grad():
        for gamma in (p for n, p in model.named_parameters() if 'gamma' in n):
            gamma.fill_(.3)
    folder = tmp_path_factory.mktemp('weights')
    network = dict(
        backbone=cfg.model.backbone.to_dict(),
        preprocessing=FrozenTeacher(backbone=cfg.model.backbone).preprocessing)
    state = {k: v for k, v in model.state_dict().items() if 'backbone.' in k}
    ours = folder / 'ours.pth'
    torch.save(dict(meta=dict(network=network), state_dict=state), ours)
    path = folder / 'authors.pth'
    convert_file(str(ours), str(path), 'mmdino', 'dinov2')
    return str(path)


def small(cfg):
    """What a test can train: the config's own hooks, crops and files."""
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.update(arch=ARCH, img_size=70)
    cfg.model.head.update(HEAD)
    views = cfg.train_dataloader.dataset.pipeline.views
    for view, size in dict(global_1=56, global_2=56, local=28).items():
        views[view].crop.size = size
    return cfg


def started(tmp_path, data, name=S14, **options):
    cfg = read_config(name)
    cfg = small(override(cfg, dict(data=str(data), **options)))
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   (cfg.val_cfg or {}).get('gallery_dataloader')):
        if loader:
            loader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=4, val_interval=2)
    cfg.train_dataloader.batch_size = 4
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    cfg.experiment_name = str(tmp_path).replace('/', '_')
    return cfg


def log_of(tmp_path):
    return next((tmp_path / 'run').rglob('*.log')).read_text()


@pytest.mark.parametrize('name', [S14, 'configs/adapt/dinov2_vit-s14.py'])
def test_the_authors_file_and_a_folder(tmp_path, pictures, published, name):
    cfg = started(tmp_path, pictures, name, load_from=published)
    runner = build_runner(cfg)
    runner.train()
    log = log_of(tmp_path)
    assert 'are initialised at random' in log
    assert 'frozen in the first 1 of 8' in log
    rows = log.split('Validations:\n')[1].splitlines()[:4]
    assert [row.split()[0] for row in rows] == ['iteration', '0', '4',
                                                '8'], rows
    assert rows[0].split()[1:] == ['knn/k20_top1']
    frozen = FrozenTeacher(str(tmp_path / 'run/epoch_4.pth'))
    assert not any(map(is_adapter, frozen.state_dict()))
    assert frozen.backbone.pos_embed.shape[1] == 1 + 25


def test_a_folder_without_classes(tmp_path, pictures, published):
    flat = tmp_path / 'flat'
    flat.mkdir()
    for path in pictures.rglob('*.jpg'):
        (flat / path.name).write_bytes(path.read_bytes())
    cfg = started(tmp_path, flat, load_from=published)
    assert cfg.val_cfg.gallery_dataloader is None
    assert cfg.val_evaluator == dict(type='RankMe')
    runner = build_runner(cfg)
    assert len(runner.train_dataloader.dataset) == 10
    runner.train()
    assert runner.iter == 8
    rank = runner.message_hub.get_scalar('val/rank/rankme').current()
    assert 1 <= rank <= 10


def test_a_folder_that_is_split_and_one_that_is_not_there(tmp_path, pictures):
    for part in ('train', 'val'):
        (tmp_path / part).symlink_to(pictures)
    cfg = override(read_config(S14), dict(data=str(tmp_path)))
    parts = [
        loader.dataset for loader in (cfg.train_dataloader, cfg.val_dataloader,
                                      cfg.val_cfg.gallery_dataloader)
    ]
    assert [part.subset for part in parts] == ['train', 'val', 'train']
    assert parts[1].classes == ['a', 'b']
    # The batch is no larger than the folder.
    assert cfg.train_dataloader.batch_size == 10
    assert cfg.test_dataloader.dataset.subset == 'val'
    with pytest.raises(FileNotFoundError, match="no folder 'no'"):
        override(read_config(S14), dict(data='no'))


@pytest.mark.parametrize('names, subsets', [
    (('train', 'valid'), ('train', 'valid', 'train')),
    (('Train', 'Test'), ('Train', 'Test', 'Train')),
    (('train', 'test', 'val'), ('train', 'val', 'train')),
    (('training', ), ('training', ) * 3),
])
def test_parts_in_other_words(tmp_path, pictures, names, subsets):
    for name in names:
        (tmp_path / name).symlink_to(pictures)
    (tmp_path / '.cache').mkdir()
    cfg = override(read_config(S14), dict(data=str(tmp_path)))
    parts = [
        loader.dataset for loader in (cfg.train_dataloader, cfg.val_dataloader,
                                      cfg.val_cfg.gallery_dataloader)
    ]
    assert tuple(part.subset for part in parts) == subsets
    assert parts[1].classes == ['a', 'b']
    number = len(DATASETS.build(parts[0]))
    assert number == (8 if len(names) == 1 else 10)
    if len(names) == 1:
        assert len(DATASETS.build(parts[1])) == 2


def test_a_part_that_counts_as_a_class_is_told(tmp_path, pictures,
                                               monkeypatch):
    for name in ('train', 'others'):
        shutil.copytree(pictures, tmp_path / name)
    said = []
    monkeypatch.setattr('mmdino.engine.folders.print_log',
                        lambda text, **_: said.append(text))
    cfg = override(read_config(S14), dict(data=str(tmp_path)))
    assert cfg.val_dataloader.dataset.classes == ['others', 'train']
    told, = said
    assert 'train counts as a class' in told and 'val or valid' in told


def test_a_folder_of_two_is_too_small_for_a_hold_out(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        Image.new('RGB', (32, 32)).save(tmp_path / name / '1.jpg')
    with pytest.raises(ValueError, match='only 2 images, .* and 1 is left'):
        override(read_config(S14), dict(data=str(tmp_path)))
    Image.new('RGB', (32, 32)).save(tmp_path / 'b/2.jpg')
    cfg = override(read_config(S14), dict(data=str(tmp_path)))
    assert len(cfg.train_dataloader.dataset.indices) == 2


@pytest.mark.parametrize('kind,cause', [
    ('none', '--checkpoint FILE_OR_NAME'),
    ('no file', "There is no checkpoint 'nowhere'"),
    ('damaged', 'is damaged, incomplete or no checkpoint'),
    ('another network', 'does not fit'),
    ('a head alone', 'no backbone|names .* are those of no format'),
    ('foreign names', 'names .* are those of no format'),
])
def test_files_that_do_not_fit(tmp_path, pictures, published, kind, cause,
                               monkeypatch):
    path = tmp_path / 'file.pth'
    state = load_checkpoint(published)
    if kind == 'damaged':
        path.write_bytes(b'1234')
    elif kind == 'another network':
        torch.save({k: v for k, v in state.items() if '.1.' not in k}, path)
    elif kind == 'a head alone':
        torch.save({'head.last_layer.weight': torch.zeros(3, 3)}, path)
    elif kind == 'foreign names':
        torch.save({'stem.w': torch.zeros(3, 3)}, path)
    start = dict(none=None).get(kind, str(path))
    cfg = started(
        tmp_path,
        pictures,
        load_from='nowhere' if kind == 'no file' else start)
    monkeypatch.setattr('mmdino.models.DINOv2.forward', None)  # no image
    with pytest.raises((CheckpointError, FileNotFoundError, ValueError),
                       match=cause):
        build_runner(cfg).train()


class KeepsParts(Hook):
    """Backbone and head of the student, at the start and after each step."""

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        self.after_train_iter(runner)

    def after_train_iter(self, runner, *args, **kwargs):
        self.seen.append([
            copy.deepcopy(dict(part.named_parameters()))
            for part in (runner.model.backbone, runner.model.head)
        ])


def changes(before, after):
    """Largest change of any parameter."""
    return max((after[k] - before[k]).abs().max().item() for k in before)


def frozen_cfg(tmp_path, **hook):
    cfg = as_dinov2(runner_cfg(tmp_path, epochs=4))
    cfg.launcher = 'none'
    cfg.auto_scale_lr.enable = False
    cfg.optim_wrapper.optimizer.update(type='SGD', weight_decay=.1)
    for key in ('betas', 'fused'):
        cfg.optim_wrapper.optimizer.pop(key)
    cfg.param_scheduler = []
    cfg.optim_wrapper.paramwise_cfg.update(backbone_lr_mult=.5)
    cfg.default_hooks.freeze_last_layer.num_epochs = 0
    cfg.default_hooks.centering.update(by_epoch=False)
    cfg.default_hooks.freeze_backbone = dict(type='FreezeBackboneHook', **hook)
    return cfg


def test_the_backbone_waits_and_then_learns(tmp_path):
    cfg = frozen_cfg(tmp_path, num_iters=3, warmup_iters=.25)
    runner, hook = build_runner(cfg), KeepsParts()
    runner.register_hook(hook)
    runner.train()
    for step, (before, after) in enumerate(zip(hook.seen, hook.seen[1:])):
        assert (changes(before[0], after[0]) > 0) == (step >= 3), step
        assert changes(before[1], after[1]) > 0
    # Of the whole rate again, of which the schedule knew nothing.
    rates = {group['lr'] for group in runner.optim_wrapper.param_groups}
    top = cfg.optim_wrapper.optimizer.lr
    assert max(rates) == top and all(r <= top / 2 for r in rates - {top})
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks


def test_the_rates_of_the_warm_up(tmp_path):
    runner = build_runner(frozen_cfg(tmp_path, num_iters=2, warmup_iters=3))
    hook = ReadsRates()
    runner.register_hook(hook, priority='LOWEST')
    runner.train()
    torch.testing.assert_close(
        torch.tensor(hook.seen) / hook.seen[-1],
        torch.tensor([1., 1., .25, .5, .75, 1., 1., 1.]))


class ReadsRates(Hook):
    """The rate of the first group, the backbone's, at each step."""

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        runner.optim_wrapper.optimizer.register_step_pre_hook(
            lambda optimizer, *_: self.seen.append(optimizer.param_groups[0][
                'lr']))


def test_a_backbone_that_would_never_learn(tmp_path):
    with pytest.raises(
            ValueError, match='freezes the backbone in all 8 iterations'):
        build_runner(frozen_cfg(tmp_path, num_iters=8)).train()
    cfg = frozen_cfg(tmp_path, warmup_iters=2)
    cfg.optim_wrapper.constructor = 'MergedGroupsConstructor'
    cfg.optim_wrapper.paramwise_cfg = dict()
    with pytest.raises(ValueError, match='backbone_lr_mult, or set warmup'):
        build_runner(cfg).train()
    with pytest.raises(ValueError, match='num_iters must be >= 0, got -1'):
        FreezeBackboneHook(num_iters=-1)


@METRICS.register_module(force=True)
class Falling(METRICS.get('Asked')):
    """A score that every validation finds lower."""

    def compute_metrics(self, results):
        return dict(score=-super().compute_metrics(results)['score'])


@pytest.mark.parametrize('stop_below,epochs', [(None, 4), (1.5, 2)])
def test_a_fall_is_told_and_may_stop(tmp_path, stop_below, epochs):
    cfg = runner_cfg(tmp_path / 'run', epochs=4)
    cfg.launcher = 'none'
    cfg.default_hooks.validate_first = dict(
        type='ValidateFirstHook', stop_below=stop_below)
    cfg.val_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type=OneView.__name__))
    cfg.val_evaluator, cfg.val_cfg = dict(type='Falling'), dict(type='ValLoop')
    runner = build_runner(cfg)
    runner.train()
    log = log_of(tmp_path)
    assert 'below the' in log and 'of the weights that training' in log
    assert ('the training stops here' in log) == (stop_below is not None)
    assert runner.epoch == epochs
    assert len(log.split('Validations:\n')[1].splitlines()) >= epochs + 2


def test_a_metric_that_is_not_there():
    with pytest.raises(ValueError, match='stop_below must be >= 0, got -1'):
        ValidateFirstHook(stop_below=-1)
