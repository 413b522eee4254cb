"""Jobs: a folder, a digest of settings, child processes and a result.

The folder of a job holds its settings, ``job.json``, and, when it is finished,
``result.json``. A job with the same settings continues in the folder, or
returns the result. For other settings the folder is renamed to
``NAME.DIGEST``, and the job begins in a new one. When the old settings are
given again, the renamed folder is used again. Nothing is deleted.
"""
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmdino.experiments.settings import (MissingData, Settings, differences,
                                         digest)
from mmdino.utils.resources import resource
from mmdino.weights.io import replaced

TOOLS = resource('tools')
PROGRESS = re.compile(r'\[ *\d+/\d+\]')
WARNING = re.compile(r'\b(WARNING|ERROR|CRITICAL)\b|Warning: ')
RECORD = re.compile(r'\S*\d\d/\d\d \d\d:\d\d:\d\d - ')  # a line of a logger
ERROR = re.compile(r'(?:\[rank\d+\]:? )?(?:\w+\.py: error: (?P<told>.*)|'
                   r'((?:\w+\.)*\w*(?:Error|Exception)\b.*))')


class Job(NamedTuple):
    """Work that is done once: its result is kept in a folder.

    Attributes:
        folder: Folder of the job.
        settings: What the result depends on, see :func:`.settings.describe`.
        run: Function that does the work in the folder and returns the result.
    """
    folder: Path
    settings: Settings
    run: Callable[[Path], dict]

    @property
    def result(self) -> dict | None:
        """Return the result of an earlier run with the same settings, if any.
        """
        for folder in (self.folder, aside(self.folder, self.settings)):
            if read_json(folder / 'job.json') == self.settings:
                return read_json(folder / 'result.json')
        return None

    @property
    def state(self) -> str:
        """Describe whether the job is to be run, resumed or is finished."""
        if self.result is not None:
            return 'finished'
        old = read_json(self.folder / 'job.json')
        if old is None:
            return 'to run'
        if old == self.settings:
            return 'begun, will continue'
        return f'to run again ({differences(old, self.settings, 2)})'

    def carry_out(self) -> dict:
        """Run the job unless it was finished, and return its result.

        Raises:
            subprocess.CalledProcessError: If a tool fails.
        """
        take_folder(self.folder, self.settings)
        result = read_json(self.folder / 'result.json')
        if result is None:
            start = time.time()
            result = dict(self.run(self.folder), seconds=time.time() - start)
            write_json(self.folder / 'result.json', result)
        return result


class Attempt(NamedTuple):
    """The result or the failure of a job.

    Attributes:
        result: Result of the job, if it is finished.
        lacking: Which data are missing, if any.
        error: Why the job failed, if it did.
    """
    result: dict | None = None
    lacking: str | None = None
    error: str | None = None


def attempt(run: Callable[[], dict]) -> Attempt:
    """Run a job; print an error instead of raising it."""
    try:
        return Attempt(run())
    except MissingData as error:
        return Attempt(lacking=str(error))
    except subprocess.CalledProcessError as error:
        message = error.output
    except (OSError, RuntimeError, ValueError) as error:
        message = str(error)
    except Exception as error:  # a bug in one row must not stop the others
        traceback.print_exc()
        message = f'{type(error).__name__}: {error}'
    print(f'failed: {message}', flush=True)
    return Attempt(error=message)


def aside(folder: Path, settings: Settings) -> Path:
    """Return where a folder of these settings is kept while others are used.
    """
    return folder.with_name(f'{folder.name}.{digest(settings)[:8]}')


def take_folder(folder: Path, settings: Settings) -> None:
    """Prepare the folder of a job; rename one of other settings.

    Raises:
        ValueError: If the folder holds files of unknown settings.
    """
    old = read_json(folder / 'job.json')
    if old == settings:
        return
    if old is not None:
        print(
            f'{folder.name} is run again, since settings have changed: '
            f'{differences(old, settings)}. The old results are kept in '
            f'{aside(folder, old)}.',
            flush=True)
        folder.rename(aside(folder, old))
    if aside(folder, settings).exists():
        aside(folder, settings).rename(folder)
    else:
        check_folder(folder, settings)
        write_json(folder / 'job.json', settings)


def check_folder(folder: Path, settings: Settings, pattern: str = '*') -> None:
    """Raise an error if a folder's files come from other settings.

    Args:
        folder: The folder.
        settings: The settings that the files must come from.
        pattern: Pattern of the files' names.

    Raises:
        ValueError: If the settings differ, or those of the files are unknown;
            names the differences with both values.
    """
    old = read_json(folder / 'job.json')
    if old is None:
        unknown = [path.name for path in folder.glob(pattern)]
        if unknown:
            raise ValueError(
                f'{folder} holds {unknown[:3]} and no job.json, so their '
                'settings are unknown: give another folder, or delete this '
                'one.')
    elif old != settings:
        raise ValueError(
            f'{folder} holds results of other settings: '
            f'{differences(old, settings)}. Give another folder, or delete '
            'this one.')


def read_json(path: Path) -> dict | None:
    """Read a JSON file, None if there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else None


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file, completely or not at all."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all."""
    with replaced(str(path)) as part:
        Path(part).write_text(text, encoding='utf-8')


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown; the first row is its head."""
    lines = [rows[0], ['---'] * len(rows[0]), *rows[1:]]
    cells = [[' '.join(str(cell).replace('|', r'\|').split()) for cell in row]
             for row in lines]
    return '\n'.join(f'| {" | ".join(row)} |' for row in cells)


def call_tool(tool: str,
              arguments: Sequence[str | Path],
              folder: Path,
              processes: int = 1) -> None:
    """Run a tool; log its output, and show its progress and warnings.

    Args:
        tool: Path of the tool in tools/, without '.py'.
        arguments: Arguments of its command line.
        folder: Folder for log.txt.
        processes: Number of GPUs, or of processes on CPUs.

    Raises:
        subprocess.CalledProcessError: If the tool fails; its output is the
            error that the tool printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    launch, arguments = [sys.executable], list(arguments)
    if processes > 1:
        launch += [
            '-m', 'torch.distributed.run', '--standalone',
            f'--nproc_per_node={processes}'
        ]
        arguments += ['--launcher', 'pytorch']
    command = [*launch, TOOLS / f'{tool}.py', *arguments]
    log = folder / 'log.txt'
    status = _run([str(part) for part in command], log)
    if status:
        raise subprocess.CalledProcessError(
            status, command, f'{cause(log.read_text())}; see {log}')


def cause(log: str) -> str:
    """Return the last error in a log, or else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [
        match['told'] or match[2] for match in map(ERROR.match, lines) if match
    ]
    errors = [e for e in errors if 'ChildFailedError' not in e]
    return [*lines[-1:], *errors][-1] if lines else 'it printed nothing'


def _run(command: list[str], log: Path) -> int:
    # The child finds the same modules as this process, such as those beside
    # the config.
    paths = [str(TOOLS.parent), *filter(None, sys.path)]
    with log.open('w') as file, subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths))) as run:
        screen = Screen()
        for line in run.stdout:
            file.write(line)
            if screen.shows(line):
                print(line, end='', flush=True)
    return run.returncode


class Screen:
    """Filter for a child's output: progress, and each warning once."""
    seen: set[str] = set()

    def __init__(self) -> None:
        self.warned = False

    def shows(self, line: str) -> bool:
        """Return whether a line is shown on the screen."""
        record = RECORD.match(line)
        if WARNING.search(line):
            text = line[record.end():] if record else line
            self.warned = text not in self.seen
            self.seen.add(text)
            return self.warned
        # The other lines of a warning are shown with the first.
        self.warned &= not record and bool(line.strip())
        return self.warned or bool(PROGRESS.search(line))
