"""Centring or sharpening alone collapses, and the monitor says which way.

Real runs of 240 steps of the tiny model (arXiv 2104.14294, section 5.3).
"""
import math
import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from tests.tiny import RandomViews, runner_cfg

UNIFORM = math.log(64)
CENTERING, NONE = dict(type='mmdino.MeanCentering'), dict(
    type='mmdino.NoCentering')
SHARP, AS_STUDENT = .03, .1


@DATASETS.register_module(force=True)
class PatternViews(RandomViews):
    """Views of 2 x 2 coloured squares, one pattern an index, under noise.

    Of views of noise alone, nothing but a constant could be learnt.
    """

    def __getitem__(self, index):
        item = super().__getitem__(index)
        generator = torch.Generator().manual_seed(1000 + index)
        pattern = torch.randint(2, (1, 3, 2, 2), generator=generator) * 160.
        item['inputs'] = [
            (F.interpolate(pattern, view.shape[1:])[0] + .35 * view).byte()
            for view in item['inputs']
        ]
        return item


def train(work_dir, guard, teacher_temp, loss='DINOLoss'):
    """Means over the last 8 steps, and the warnings of the log."""
    cfg = runner_cfg(
        work_dir,
        epochs=60,
        batch_size=16,
        length=64,
        centering=guard,
        loss=dict(type=f'mmdino.{loss}'))
    cfg.train_dataloader.dataset.type = 'PatternViews'
    cfg.train_dataloader.sampler.shuffle = True
    cfg.randomness = dict(seed=1)
    hooks = cfg.default_hooks
    hooks.centering.update(
        teacher_temp=teacher_temp, warmup_teacher_temp=teacher_temp)
    hooks.teacher.update(momentum=.98)
    # Before, the centre has not found its place yet.
    hooks.collapse.update(interval=8, begin=20)
    hooks.checkpoint.interval = 60
    cfg.optim_wrapper.optimizer.lr = 1e-3
    cfg.auto_scale_lr.enable = False
    runner = Runner.from_cfg(cfg)
    runner.train()
    ends = {
        key: runner.message_hub.get_scalar(f'train/{key}').mean(8)
        for key in ('teacher_entropy', 'kl', 'largest_prototype',
                    'target_information')
        if f'train/{key}' in runner.message_hub.log_scalars
    }
    log, = work_dir.glob('*/*.log')
    return ends, re.findall(r'WARNING.*Iteration \d+: (.*)', log.read_text())


def test_both_do_not_collapse(tmp_path):
    ends, warnings = train(tmp_path, CENTERING, SHARP)
    assert not warnings
    assert ends['target_information'] > .5
    assert ends['largest_prototype'] < .6


def test_centering_alone_ends_uniform(tmp_path):
    ends, warnings = train(tmp_path, CENTERING, AS_STUDENT)
    assert ends['teacher_entropy'] > .99 * UNIFORM and ends['kl'] < .05
    assert warnings[-1].startswith('the output is uniform')


def test_sharpening_alone_ends_at_one_prototype(tmp_path):
    ends, warnings = train(tmp_path, NONE, SHARP)
    assert ends['teacher_entropy'] < .01 * UNIFORM and ends['kl'] < .05
    assert len(warnings) == 1
    assert re.match(r'one prototype takes \d+% of the targets', warnings[0])


@pytest.mark.slow
def test_neither_ends_with_one_target_for_all(tmp_path):
    """Nothing draws the constant answer to an extreme."""
    ends, warnings = train(tmp_path, NONE, AS_STUDENT)
    assert .1 * UNIFORM < ends['teacher_entropy'] < .9 * UNIFORM
    assert ends['kl'] < .01 and ends['target_information'] < .02
    assert len(warnings) == 1
    assert warnings[0].startswith('all images have the same target')


@pytest.mark.slow
def test_the_monitor_does_not_depend_on_the_loss(tmp_path):
    """Squared distances of uniform outputs are far from ln K."""
    ends, warnings = train(tmp_path, CENTERING, AS_STUDENT, 'MSELoss')
    assert ends['teacher_entropy'] > .99 * UNIFORM
    assert warnings[-1].startswith('the output is uniform')
