"""Whose copy the teacher is, in a real Runner."""
import pytest
import torch
from mmengine.runner import IterBasedTrainLoop, Runner

from mmdino.engine.hooks import TeacherCopyHook
from tests.engine.hooks.test_hooks import Snapshots
from tests.tiny import build_runner, runner_cfg

NAME = 'head.mlp.0.weight'


def states(tmp_path, when, accumulate=1, **changes):
    """The model before the first of 6 iterations, and after each."""
    cfg = runner_cfg(tmp_path, epochs=3, head__use_bn=True, **changes)
    cfg.default_hooks.teacher = dict(type='TeacherCopyHook', when=when)
    cfg.optim_wrapper.accumulative_counts = accumulate
    runner = Runner.from_cfg(cfg)
    snapshots = Snapshots()
    runner.register_hook(snapshots)
    runner.train()
    return snapshots.states


def assert_copied(teacher, student):
    names = [n for n in teacher if n.startswith('teacher.')]
    assert any('running_mean' in name for name in names)
    for name in names:
        assert torch.equal(teacher[name],
                           student[name.removeprefix('teacher.')]), name


def test_student_copy(tmp_path):
    seen = states(tmp_path, 'after_step')
    for state in seen:
        assert_copied(state, state)
    assert not torch.equal(seen[0][NAME], seen[1][NAME])


def test_previous_iteration(tmp_path):
    seen = states(tmp_path, 'before_step')
    for before, after in zip(seen, seen[1:]):
        assert torch.equal(after[f'teacher.{NAME}'], before[NAME])
        assert not torch.equal(after[f'teacher.{NAME}'], after[NAME])


def test_previous_epoch(tmp_path):
    """Each epoch's two iterations see the student of the epoch's start."""
    seen = states(tmp_path, 'after_epoch')
    for iteration, start in enumerate((0, 0, 2, 2, 4, 4)):
        assert torch.equal(seen[iteration + 1][f'teacher.{NAME}'],
                           seen[start][NAME])
    assert not torch.equal(seen[1][NAME], seen[0][NAME])


def test_a_copy_has_the_students_running_statistics(tmp_path):
    """Weights alone would be scored with another network's statistics."""
    cfg = runner_cfg(tmp_path, epochs=1, head__use_bn=True)
    cfg.default_hooks.teacher = dict(
        type='TeacherCopyHook', when='after_epoch')
    runner = Runner.from_cfg(cfg)
    runner.train()
    state = runner.model.state_dict()
    assert state['teacher.head.mlp.1.running_mean'].any()
    assert_copied(state, state)


@pytest.mark.parametrize('when', ['after_step', 'before_step'])
def test_with_accumulated_gradients_steps_count(tmp_path, when):
    seen = states(tmp_path, when, accumulate=2)
    teacher = f'teacher.{NAME}'
    assert torch.equal(seen[1][teacher], seen[0][NAME])
    expected = seen[2] if when == 'after_step' else seen[0]
    assert torch.equal(seen[2][teacher], expected[NAME])
    assert not torch.equal(seen[2][NAME], seen[0][NAME])
    assert torch.equal(seen[3][teacher], seen[2][teacher])


def test_a_loop_without_epochs_is_refused(tmp_path):
    runner = build_runner(tmp_path)
    runner._train_loop = IterBasedTrainLoop(
        runner, runner.train_dataloader, max_iters=2)
    with pytest.raises(TypeError, match='TeacherCopyHook counts'):
        TeacherCopyHook('after_epoch').before_train(runner)
