"""Run torchrun, and exit with the status of the job.

    python tools/launch.py [options of torchrun] SCRIPT [options of SCRIPT]

SIGTERM, SIGINT and SIGUSR1 are passed on to all processes of the job, which
save a checkpoint and stop; the exit status is then 128 + signal. If the job
fails, the last lines tell which process failed first, and the exit status is
that of this process, or 128 + signal if a signal killed it.
"""
import signal
import sys
from types import FrameType

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from mmdino.utils.tool import program

SIGNALS = [
    signal.Signals[name] for name in ('SIGTERM', 'SIGINT', 'SIGUSR1')
    if name in signal.Signals.__members__
]


def pass_on(number: int, frame: FrameType | None) -> None:
    """Let torchrun send the signal to all processes, and wait for them.

    Further signals are ignored: launchers and schedulers repeat them, and
    another one would end the wait.
    """
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    name = signal.Signals(number).name
    raise api.SignalException(f'got {name}', sigval=signal.Signals(number))


def report(error: ChildFailedError) -> int:
    """Print which process failed first; return the exit status."""
    rank, failure = error.get_first_failure()
    status = failure.exitcode
    status = 128 - status if status < 0 else status
    if status - 128 in SIGNALS:
        name = signal.Signals(status - 128).name
        say(f'Rank {rank} was stopped by {name}, and so was the job. '
            f'Exit status {status}.')
    else:
        if status != 2:  # of a user's error the tool has said all
            say(str(error))
        say(f'Rank {rank} failed first. Exit status {status}.')
    return status


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    # torch installs the handler of this name when it starts the processes.
    api._terminate_process_handler = pass_on
    for number in SIGNALS:
        signal.signal(number, pass_on)
    sys.argv[0] = program()
    try:
        run.run(run.parse_args(None))
    except api.SignalException as error:
        status = 128 + error.sigval
        say(f'Stopped by {error.sigval.name}: all processes have ended. '
            f'Exit status {status}.')
        return status
    except ChildFailedError as error:
        return report(error)
    return 0


if __name__ == '__main__':
    sys.exit(main())
