"""DeepSpeed's engine trains as one process does, where it is installed."""
import pytest
import torch

from mmdino.engine.launch import build_runner
from tests.launching import (assert_close, checkpoint, job_cfg, losses_of,
                             run_job, train_on_two, write)
from tests.tiny import MODEL

deepspeed = pytest.importorskip('deepspeed')
STRATEGY = dict(
    runner_type='FlexibleRunner',
    strategy=dict(type='mmdino.DeepSpeedStrategy'))


def in_float32(cfg):
    """It knows no float64."""
    cfg.custom_imports.imports = ['tests.tiny', 'tests.launching']
    cfg.model.data_preprocessor.type = MODEL['data_preprocessor']['type']
    return cfg


@pytest.mark.slow
def test_two_processes_equal_one_and_resume(tmp_path):
    """At first it compiles an operator, a minute."""
    cfg = in_float32(job_cfg(tmp_path / 'one', batch_size=4))
    cfg.launcher = 'none'
    build_runner(cfg).train()
    one = tmp_path / 'one/run'

    two = in_float32(job_cfg(tmp_path / 'two', batch_size=2))
    two.merge_from_dict(STRATEGY)
    config = write(two, tmp_path / 'two')
    train_on_two(config)
    torch.testing.assert_close(
        losses_of(tmp_path / 'two/run'), losses_of(one), rtol=0, atol=1e-5)
    end = checkpoint(tmp_path / 'two/run')
    assert_close(end, checkpoint(one), atol=1e-4)

    out = train_on_two(config, '--resume', str(one / 'epoch_1.pth'))
    assert 'resumed epoch: 1, iter: 4' in out
    assert_close(checkpoint(tmp_path / 'two/run'), end, atol=1e-4)


@pytest.mark.slow
def test_zero_is_refused(tmp_path):
    cfg = in_float32(job_cfg(tmp_path, batch_size=2))
    cfg.merge_from_dict(STRATEGY)
    cfg.strategy.zero_optimization = dict(stage=1)
    out = run_job(
        'bash',
        'tools/dist_train.sh',
        str(write(cfg, tmp_path)),
        '2',
        '--work-dir',
        str(tmp_path / 'run'),
        status=1)
    assert 'flatten the parameters' in out
