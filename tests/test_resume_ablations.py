"""Runs with the ablations' components resume bit by bit, too."""
import copy

import pytest
import torch
from mmengine.config import Config

from tests.resuming import StopAfter, assert_same, end_of, random_cfg, train

SWITCHES = {
    'sinkhorn-knopp':
    dict(model=dict(centering=dict(_delete_=True, type='SinkhornKnopp'))),
    'batch-softmax':
    dict(
        model=dict(
            centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=1))),
    'none':
    dict(model=dict(centering=dict(_delete_=True, type='NoCentering'))),
    'mse':
    dict(model=dict(loss=dict(type='MSELoss'))),
    'info-nce':
    dict(model=dict(loss=dict(type='InfoNCELoss'))),
    'previous-epoch':
    dict(
        default_hooks=dict(
            teacher=dict(
                _delete_=True, type='TeacherCopyHook', when='after_epoch'))),
    'previous-iteration':
    dict(
        default_hooks=dict(
            teacher=dict(
                _delete_=True, type='TeacherCopyHook', when='before_step'))),
    'student-copy':
    dict(
        default_hooks=dict(
            teacher=dict(
                _delete_=True, type='TeacherCopyHook', when='after_step'))),
    'predictor':
    dict(
        model=dict(
            predictor=dict(type='Predictor', hidden_channels=16,
                           use_bn=True))),
    'polyak':
    dict(
        default_hooks=dict(
            teacher=dict(
                _delete_=True, type='TeacherCopyHook', when='after_step')),
        custom_hooks=[dict(type='EMAHook', momentum=.1)]),
}


def switched(work_dir, name) -> Config:
    cfg = random_cfg(work_dir)
    cfg.merge_from_dict(copy.deepcopy(SWITCHES[name]))
    return cfg


# What is moved over time is stopped at the end of an epoch of 3 iterations,
# too.
STOPS = {
    name: (2, 6) if 'default_hooks' in switch else (4, )
    for name, switch in SWITCHES.items()
}


@pytest.mark.parametrize('name', SWITCHES)
def test_stop_and_resume(name, tmp_path):
    train(switched(tmp_path / 'whole', name))
    cfg = switched(tmp_path / 'parts', name)
    for iteration in STOPS[name]:
        with pytest.raises(SystemExit):
            train(cfg, StopAfter(iteration))
    train(cfg)
    assert_same(end_of(tmp_path / 'parts'), end_of(tmp_path / 'whole'))


def test_what_is_saved_as_the_teacher_is_the_students_average(tmp_path):
    """The teacher copies the student, hence its average is the student's."""
    cfg = switched(tmp_path, 'polyak')
    cfg.default_hooks.checkpoint.update(by_epoch=False, max_keep_ckpts=-1)
    train(cfg)
    states = [
        torch.load(tmp_path / f'iter_{i}.pth', weights_only=False)
        for i in range(1, 10)
    ]
    name = 'backbone.layers.0.attn.qkv.weight'
    average = states[0]['state_dict'][f'teacher.{name}']
    for before, now in zip(states, states[1:]):
        student = now['ema_state_dict'][f'module.{name}']
        average = .9 * average + .1 * student
        torch.testing.assert_close(now['state_dict'][f'teacher.{name}'],
                                   average)
    assert not torch.equal(average, student)
