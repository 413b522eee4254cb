"""Centring or sharpening alone collapses, and the monitor says which way.

Real runs of 60 steps of the tiny model (arXiv 2104.14294, section 5.3).
"""
import math
import re

import pytest
from mmengine.runner import Runner

from tests.tiny import runner_cfg

UNIFORM = math.log(64)
CENTERING, NONE = dict(type='mmdino.MeanCentering'), dict(
    type='mmdino.NoCentering')
SHARP, AS_STUDENT = .04, .1


def train(work_dir, guard, teacher_temp, loss='DINOLoss'):
    """Means over the last 8 steps, and the warnings of the log."""
    cfg = runner_cfg(
        work_dir,
        epochs=30,
        batch_size=16,
        length=32,
        centering=guard,
        loss=dict(type=f'mmdino.{loss}'))
    hooks = cfg.default_hooks
    hooks.centering.update(
        teacher_temp=teacher_temp, warmup_teacher_temp=teacher_temp)
    hooks.teacher.update(momentum=.9)
    # Before, the centre has not found its place yet.
    hooks.collapse.update(interval=4, begin=10)
    hooks.checkpoint.interval = 30
    cfg.optim_wrapper.optimizer.lr = 3e-3
    cfg.auto_scale_lr.enable = False
    runner = Runner.from_cfg(cfg)
    runner.train()
    ends = {
        key: runner.message_hub.get_scalar(f'train/{key}').mean(8)
        for key in ('teacher_entropy', 'kl', 'largest_prototype')
    }
    log, = work_dir.glob('*/*.log')
    return ends, re.findall(r'WARNING.*Iteration \d+: (.*)', log.read_text())


def test_both_do_not_collapse(tmp_path):
    ends, warnings = train(tmp_path, CENTERING, SHARP)
    assert not warnings
    assert .5 * UNIFORM < ends['teacher_entropy'] < .95 * UNIFORM
    assert ends['kl'] > .5
    assert ends['largest_prototype'] < .5


def test_centering_alone_ends_uniform(tmp_path):
    ends, warnings = train(tmp_path, CENTERING, AS_STUDENT)
    assert ends['teacher_entropy'] > .99 * UNIFORM and ends['kl'] < .2
    assert len(warnings) == 1
    assert warnings[0].startswith('the output is uniform')


@pytest.mark.parametrize('temp', [SHARP, AS_STUDENT])
def test_without_a_centre_one_prototype_takes_all(tmp_path, temp):
    ends, warnings = train(tmp_path, NONE, temp)
    assert ends['teacher_entropy'] < .1 * UNIFORM and ends['kl'] < .05
    assert len(warnings) == 1
    assert re.match(r'one prototype takes \d+% of the targets', warnings[0])


def test_the_monitor_does_not_depend_on_the_loss(tmp_path):
    """Squared distances of uniform outputs are far from ln K."""
    ends, warnings = train(tmp_path, CENTERING, AS_STUDENT, 'MSELoss')
    assert ends['teacher_entropy'] > .99 * UNIFORM
    assert [w.split(':')[0] for w in warnings] == ['the output is uniform']
