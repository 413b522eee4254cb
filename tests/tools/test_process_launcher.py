"""A job of several processes ends with its own words and status."""
import runpy
import signal

import pytest
from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import (ChildFailedError,
                                                              ProcessFailure)

from tests.launching import job_cfg, run_job, write

STOPPED = 'Exit status 143.'


@pytest.fixture
def launch():
    handlers = {n: signal.getsignal(n) for n in (15, 2, signal.SIGUSR1)}
    yield runpy.run_path('tools/launch.py')
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize('how,status,last', [
    ('stop torchrun', 143,
     f'Stopped by SIGTERM: all processes have ended. {STOPPED}'),
    pytest.param(
        'stop',
        143,
        f'was stopped by SIGTERM, and so was the job. {STOPPED}',
        marks=pytest.mark.slow),
    ('kill', 137, 'Rank 1 failed first. Exit status 137.'),
])
def test_the_last_line_and_the_status(how, status, last, tmp_path):
    cfg = job_cfg(tmp_path, batch_size=2)
    cfg.train_dataloader.update(num_workers=1)
    cfg.custom_hooks = [
        dict(
            type='FailOnce',
            folder=str(tmp_path),
            rank=1,
            iteration=7,
            how=how)
    ]
    out = run_job(
        'bash',
        'tools/dist_train.sh',
        str(write(cfg, tmp_path)),
        '2',
        '--work-dir',
        str(tmp_path / 'run'),
        status=status)
    assert out.strip().endswith(last)
    assert (tmp_path / 'run/interrupted.pth').exists() == (status == 143)
    if status == 143:
        assert 'Traceback' not in out
        assert 'SIGTERM: stopped after iteration' in out


def failed(exitcode):
    failure = ProcessFailure(
        local_rank=0, pid=1, exitcode=exitcode, error_file='none')
    return ChildFailedError('train.py', {3: failure})


@pytest.mark.parametrize('exitcode,status,told', [
    (1, 1, 'Rank 3 failed first'),
    (-9, 137, 'Rank 3 failed first'),
    (-15, 143, 'Rank 3 was stopped by SIGTERM'),
    (138, 138, 'Rank 3 was stopped by SIGUSR1'),
])
def test_report(exitcode, status, told, launch, capsys):
    assert launch['report'](failed(exitcode)) == status
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(told) and last.endswith(f'status {status}.')


def test_a_users_error_is_not_told_again(launch, capsys):
    """The tool has printed its one line; torchrun's would be a traceback."""
    assert launch['report'](failed(2)) == 2
    assert capsys.readouterr().err == 'Rank 3 failed first. Exit status 2.\n'


def test_another_signal_does_not_end_the_wait(launch):
    with pytest.raises(api.SignalException) as caught:
        launch['pass_on'](signal.SIGTERM, None)
    assert caught.value.sigval == signal.SIGTERM
    for number in launch['SIGNALS']:
        assert signal.getsignal(number) is signal.SIG_IGN
