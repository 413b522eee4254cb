"""Runs the evaluations of :mod:`mmdino.evaluation.suite` one by one.

Each is a process of its own, tools/test.py or tools/train.py with a config
that is kept beside its log and figures: one that fails does not stop the
others, and what was finished is not run again.
"""
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmdino.datasets.benchmarks.layouts import LAYOUTS, first_missing
from mmdino.engine.configs import read_run
from mmdino.experiments.extraction import lock_folder
from mmdino.experiments.report import Outcome
from mmdino.experiments.suite import (Evaluation, Job, cap_workers,
                                      missing_data, with_data)
from mmdino.pictures.curves import read_scalars
from mmdino.utils.resources import resource
from mmdino.weights import find_checkpoint

TOOLS = resource('tools')
PROGRESS = re.compile(r'\[ *\d+/\d+\]')  # what also goes to the screen


class SuiteRunner:
    """One checkpoint's evaluations in one work dir.

    Args:
        config: Config file of the pretraining run; None for the one that the
            checkpoint keeps.
        checkpoint: Its checkpoint.
        data: Folder of the data sets.
        folder: The work dir; it may hold what was finished before.
        processes: GPUs, or CPU processes.

    Raises:
        FileNotFoundError: If config or checkpoint does not exist.
        ValueError: If the work dir belongs to another checkpoint.
    """

    def __init__(self, config: Optional[str], checkpoint: str, data: Path,
                 folder: Path, processes: int) -> None:
        checkpoint = find_checkpoint(checkpoint)
        self.folder = folder
        self.processes = processes
        cfg = with_data(read_run(config, checkpoint), data)
        lock_folder(folder, config, checkpoint)
        cap_workers(cfg)
        self.job = Job(cfg, os.path.abspath(checkpoint), data,
                       folder / 'features')
        self.config = folder / 'config.py'
        cfg.dump(self.config)

    def evaluate(self, evaluation: Evaluation) -> Outcome:
        """Run one evaluation, or say what keeps it from being run."""
        layout = LAYOUTS.get(evaluation.layout)
        outcome = Outcome(
            evaluation.title,
            layout.title if layout else self.own_data,
            layout=evaluation.layout)
        folder = self.folder / evaluation.key
        done = folder / 'result.json'
        if done.exists():
            return outcome._replace(**json.loads(done.read_text()))
        start = time.time()
        try:
            cause = self._prepare(evaluation, folder)
            if cause:
                return outcome._replace(lacking=cause)
            figures = getattr(self, f'_{evaluation.tool}')(evaluation, folder)
        except subprocess.CalledProcessError as error:
            return outcome._replace(error=error.output)
        values = {
            name: figures[key]
            for key, name in evaluation.values.items() if key in figures
        }
        result = dict(values=values, seconds=time.time() - start)
        done.write_text(json.dumps(result))
        return outcome._replace(**result)

    def draw(self, tool: str, title: str, options: Sequence) -> Outcome:
        """Run one of the picture tools on the run's own data."""
        outcome = Outcome(title, self.own_data)
        folder = self.folder / tool
        pictures = sorted(folder.glob('*.png'))
        if not pictures:
            folder.mkdir(exist_ok=True)
            cause = missing_data(self.job.config)
            if cause:
                return outcome._replace(lacking=cause)
            try:
                self._extract()
                call_tool(f'visualization/{tool}', options, folder)
            except subprocess.CalledProcessError as error:
                return outcome._replace(error=error.output)
            pictures = sorted(folder.glob('*.png'))
        names = [str(p.relative_to(self.folder)) for p in pictures]
        return outcome._replace(pictures=names)

    @property
    def own_data(self) -> str:
        """What the run's own test set is called."""
        dataset = self.job.config.test_dataloader.dataset
        return Path(dataset.get('data_root') or dataset.type).name

    def _prepare(self, evaluation: Evaluation, folder: Path) -> Optional[str]:
        """Write the config to run; return what is lacking instead."""
        if not evaluation.layout:
            cause = missing_data(self.job.config)
            if cause:
                return cause
        if evaluation.saved:
            self._extract()
        layout = LAYOUTS.get(evaluation.layout)
        cause = layout and first_missing(layout, self.job.data)
        if cause:
            return cause
        try:
            cfg = evaluation.prepare(self.job)
        except (OSError, ValueError) as error:
            return str(error)
        cause = missing_data(cfg)
        if not cause:
            cap_workers(cfg)
            folder.mkdir(exist_ok=True)
            cfg.dump(folder / 'config.py')
        return cause

    def _extract(self) -> None:
        """Save the features of the run's own data, once."""
        folder = self.job.features
        if (folder / 'queries.npz').exists():
            return
        folder.mkdir(exist_ok=True)
        call_tool('extract_features',
                  [self.config, self.job.checkpoint, '--out', folder], folder,
                  self.processes)

    def _test(self, evaluation: Evaluation, folder: Path) -> Dict[str, float]:
        arguments = [folder / 'config.py']
        if not evaluation.saved:
            arguments.append(self.job.checkpoint)
        out = folder / 'metrics.json'
        arguments += ['--work-dir', folder, '--out', out]
        call_tool('test', arguments, folder,
                  1 if evaluation.saved else self.processes)
        return json.loads(out.read_text())

    def _train(self, evaluation: Evaluation, folder: Path) -> Dict[str, float]:
        arguments = [folder / 'config.py', '--work-dir', folder, '--resume']
        call_tool('train', arguments, folder, self.processes)
        return {
            key: points[-1][1]
            for key, points in read_scalars(folder).items()
        }


def call_tool(tool: str,
              arguments: Sequence,
              folder: Path,
              processes: int = 1) -> None:
    """Run a tool, its progress on the screen and all it says in log.txt.

    Args:
        tool: Its path below tools/, without '.py'.
        arguments: Of its command line.
        folder: Where log.txt goes.
        processes: GPUs, or CPU processes.

    Raises:
        subprocess.CalledProcessError: With the last line it printed.
    """
    launch, arguments = [sys.executable], list(arguments)
    if processes > 1:
        launch += [
            '-m', 'torch.distributed.run', '--standalone',
            f'--nproc_per_node={processes}'
        ]
        arguments += ['--launcher', 'pytorch']
    command = [*launch, TOOLS / f'{tool}.py', *arguments]
    lines = _run([str(part) for part in command], folder / 'log.txt')
    if lines is not None:
        raise subprocess.CalledProcessError(
            1, command, f'{lines}; see {folder / "log.txt"}')


def _run(command: List[str], log: Path) -> Optional[str]:
    """Run a command; return its last line if it fails."""
    # Modules beside the config are found by the child as by this process.
    paths = [str(TOOLS.parent), *filter(None, sys.path)]
    line = ''
    with log.open('w') as file, subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths))) as run:
        for line in run.stdout:
            file.write(line)
            if PROGRESS.search(line):
                print(line, end='', flush=True)
    return line.strip() if run.returncode else None
