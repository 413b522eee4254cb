"""The authors' full checkpoint is trained on; our own are resumed, safely."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmengine.runner import CheckpointLoader

from mmdino.engine.launch import build_runner
from mmdino.weights import (convert, convert_file, load_checkpoint,
                            use_safe_loading)
from mmdino.weights.config import IMAGENET
from tests.tiny import RandomViews, runner_cfg
from tests.weights import states
from tests.weights.test_conversion import same


@pytest.fixture
def official(tmp_path):
    path = tmp_path / 'official.pth'
    torch.save(states.full(states.vit(), 24), path)
    return str(path)


def continued(tmp_path, **changes):
    cfg = runner_cfg(tmp_path / 'run', epochs=1, head__num_layers=2, **changes)
    # The tiny head has the sizes of the states' own.
    cfg.model.head.update(hidden_channels=32, bottleneck_channels=16)
    cfg.model.data_preprocessor.update(
        mean=IMAGENET['mean'], std=IMAGENET['std'])
    cfg.launcher = 'none'
    return cfg


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_an_official_checkpoint_is_trained_on(official, tmp_path, ending):
    cfg = continued(tmp_path)
    cfg.load_from = str(tmp_path / f'ours.{ending}')
    convert_file(official, cfg.load_from, 'official', 'mmdino', num_heads=3)
    runner = build_runner(cfg)
    runner.load_or_resume()
    expected = convert(load_checkpoint(official), 'official', 'mmdino')
    assert same(dict(runner.model.state_dict()), expected)
    runner.train()
    assert runner.iter == 2
    assert load_checkpoint(str(tmp_path / 'run/epoch_1.pth'))['meta']


def test_our_checkpoints_are_resumed_safely(tmp_path):
    build_runner(continued(tmp_path)).train()
    path = str(tmp_path / 'run/epoch_1.pth')
    checkpoint = load_checkpoint(path)
    unsafe = torch.load(path, weights_only=False)
    assert same(dict(checkpoint['state_dict']), dict(unsafe['state_dict']))
    for name, history in unsafe['message_hub']['log_scalars'].items():
        read = checkpoint['message_hub']['log_scalars'][name]
        for ours, theirs in zip(read.data, history.data):
            assert np.array_equal(ours, theirs)
        assert read.mean() == history.mean()
    cfg = continued(tmp_path)
    cfg.train_cfg.max_epochs = 2
    cfg.load_from, cfg.resume = path, True
    cfg.experiment_name += '_resumed'
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 4


def test_mmengine_uses_the_safe_loader(tmp_path):
    use_safe_loading()
    torch.save(states.vit(), tmp_path / 'vit.pth')
    read = CheckpointLoader.load_checkpoint(str(tmp_path / 'vit.pth'))
    assert same(read, states.vit())


@METRICS.register_module(force=True)
class Asked(BaseMetric):
    """How often it was asked."""
    count = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Asked.count += 1
        return dict(score=float(Asked.count))


@DATASETS.register_module(force=True)
class OneView(RandomViews):

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return dict(item, inputs=item['inputs'][0])


def test_validation_before_and_after(tmp_path):
    cfg = continued(tmp_path)
    cfg.default_hooks.validate_first = dict(type='ValidateFirstHook')
    cfg.val_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='OneView'))
    cfg.val_evaluator = dict(type='Asked')
    cfg.val_cfg = dict(type='ValLoop')
    build_runner(cfg).train()
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert 'score: 1.00 before, 2.00 after' in log


def test_the_preset():
    cfg = Config.fromfile('configs/continue/dino_vit-s16_continue.py')
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=.4, fused=True)
    assert cfg.param_scheduler.warmup_epochs == 1
    assert cfg.param_scheduler.end_lr == 1e-6
    assert cfg.param_scheduler.end_weight_decay is None
    assert cfg.default_hooks.teacher.momentum == .9995
    assert cfg.default_hooks.centering.warmup_teacher_temp == .07
    assert cfg.load_from is None
