"""The thousandth iteration takes no more memory or disk than the hundredth."""
import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS

from mmdino.engine.configs import complete
from mmdino.engine.launch import build_runner
from mmdino.weights import convert, load_checkpoint
from mmdino.weights.keys import strip_prefix
from tests.launching import run_job, write
from tests.tiny import runner_cfg

SNAPSHOTS = complete(Config.fromfile('configs/_base_/teacher_snapshots.py'))


@HOOKS.register_module(force=True)
class MemoryLog(Hook):
    """Write the resident set to a file, in pages."""
    priority = 'LOWEST'

    def __init__(self, path):
        self.path = path

    def after_train_iter(self, runner, *args, **kwargs):
        pages = Path('/proc/self/statm').read_text().split()[1]
        with open(self.path, 'a') as file:
            file.write(f'{pages}\n')


@pytest.mark.slow
def test_memory_stays_flat_over_2000_iterations(tmp_path):
    cfg = runner_cfg(tmp_path / 'run', epochs=20, length=400)
    cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=2)
    cfg.default_hooks.log_history.length = 200
    cfg.default_hooks.logger.interval = 10
    cfg.custom_imports = dict(imports=['tests.tiny', 'tests.test_long_runs'])
    cfg.custom_hooks = [dict(type='MemoryLog', path=str(tmp_path / 'memory'))]
    run_job(sys.executable, 'tools/train.py', str(write(cfg, tmp_path)),
            '--work-dir', str(tmp_path / 'run'))
    pages = [int(x) for x in (tmp_path / 'memory').read_text().split()]
    assert len(pages) == 2000
    early, late = pages[400:600], pages[-200:]
    assert sum(late) / sum(early) < 1.02, (early[0], late[-1])
    saved = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert saved == {'epoch_18.pth', 'epoch_20.pth'}


def train(work_dir, **hooks):
    cfg = runner_cfg(work_dir, epochs=4)
    cfg.merge_from_dict(dict(default_hooks=hooks))
    cfg.launcher = 'none'
    runner = build_runner(cfg)
    runner.train()
    return runner


def test_figures_are_cut_in_memory_and_checkpoints(tmp_path):
    runner = train(tmp_path, log_history=dict(length=3))
    assert runner.iter == 8
    state = load_checkpoint(str(tmp_path / 'epoch_4.pth'))
    for scalars in (runner.message_hub.log_scalars,
                    state['message_hub']['log_scalars']):
        values = {n: len(s.data[0]) for n, s in scalars.items()}
        assert values['train/loss'] == values['train/momentum'] == 5
        assert max(values.values()) <= 6


def test_checkpoints_are_few_and_snapshots_stay(tmp_path):
    runner = train(
        tmp_path,
        checkpoint=dict(max_keep_ckpts=1),
        snapshot=dict(SNAPSHOTS.default_hooks.snapshot, interval=2))
    assert {path.name
            for path in tmp_path.glob('*.pth')
            } == {'epoch_4.pth', 'teacher_epoch_2.pth', 'teacher_epoch_4.pth'}
    sizes = [
        os.path.getsize(tmp_path / f'{name}epoch_4.pth')
        for name in ('', 'teacher_')
    ]
    assert sizes[1] < sizes[0] / 3
    snapshot = load_checkpoint(str(tmp_path / 'teacher_epoch_4.pth'))
    meta = snapshot['meta']
    assert meta.pop('network')['backbone']['type'] == (
        'mmdino.VisionTransformer')
    assert meta == dict(epoch=4, iter=8)
    backbone = strip_prefix(snapshot['state_dict'], 'teacher.backbone.')
    expected = runner.model.teacher.backbone.state_dict()
    torch.testing.assert_close(dict(backbone), dict(expected), rtol=0, atol=0)


def test_a_snapshot_is_loaded_and_converted(tmp_path):
    train(
        tmp_path, snapshot=dict(SNAPSHOTS.default_hooks.snapshot, interval=4))
    path = str(tmp_path / 'teacher_epoch_4.pth')
    cfg = runner_cfg(tmp_path)
    network = MODELS.build(
        dict(
            cfg.model.backbone,
            init_cfg=dict(
                type='Pretrained', checkpoint=path,
                prefix='teacher.backbone.')))
    network.init_weights()
    snapshot = load_checkpoint(path)
    expected = strip_prefix(snapshot['state_dict'], 'teacher.backbone.')
    assert torch.equal(network.cls_token, expected['cls_token'])
    official = convert(snapshot, 'mmdino', 'official', which='teacher')
    assert torch.equal(official['cls_token'], expected['cls_token'])
