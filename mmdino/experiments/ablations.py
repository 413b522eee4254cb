"""The tables of configs/ablations/, and one run of a row of them.

A table is a folder, a row a config in it that holds one switch. It inherits
from the paper's setting, or from the config that the environment variable
``MMDINO_BASE`` names: the same rows serve any size of network and data.
"""
import hashlib
import json
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from mmdino.engine.hooks.monitoring import MONITORS, diagnose, summarize
from mmdino.experiments.suite import EVALUATIONS, cap_workers, with_data
from mmdino.experiments.suite_runner import SuiteRunner, call_tool
from mmdino.pictures.curves import read_scalars
from mmdino.utils.resources import resource

ABLATIONS = resource('configs') / 'ablations'
PAPER = resource('configs') / 'dino_vit-s16.py'
BASES = {p.stem: p for p in sorted((ABLATIONS / '_base_').glob('*.py'))}


class Variant(NamedTuple):
    """A row of a table.

    Attributes:
        name: File name without its extension.
        title: The first sentence of the config's comment.
        path: The config.
    """
    name: str
    title: str
    path: Path


def list_tables() -> List[str]:
    """Names of the tables."""
    return sorted(p.name for p in ABLATIONS.iterdir()
                  if p.is_dir() and not p.name.startswith('_'))


def find_variants(table: str,
                  names: Optional[Sequence[str]] = None) -> List[Variant]:
    """The rows of a table, by their names, numbers in their order.

    Args:
        table: One of :func:`list_tables`.
        names: Some of its rows; all by default.

    Raises:
        ValueError: If there is no such table or row.
    """
    if table not in list_tables():
        raise ValueError(f'There is no table {table!r} in {ABLATIONS}: choose '
                         f'one of {list_tables()}.')
    found = {p.stem: p for p in (ABLATIONS / table).glob('*.py')}
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise ValueError(f'The table {table!r} has no row {unknown[0]!r}: '
                         f'choose among {sorted(found, key=_natural)}.')
    return [
        Variant(name, _title(found[name]), found[name])
        for name in names or sorted(found, key=_natural)
    ]


def load_variant(path: Path, base: Optional[Path] = None) -> Config:
    """Read a row's config.

    Args:
        path: The config.
        base: What it inherits from instead of the paper's setting.

    Raises:
        ValueError: If the base lacks what the row changes.
    """
    with _environment('MMDINO_BASE', base and str(base.absolute())):
        try:
            return Config.fromfile(path)
        except (AttributeError, IndexError, KeyError) as error:
            raise ValueError(
                f'The row {path} cannot be put upon {base}, which lacks what '
                f'it changes ({error}): leave it out by --rows.') from error


@contextmanager
def _environment(name: str, value: Optional[str]) -> Iterator[None]:
    """Set or, without a value, unset a variable for a while."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _title(path: Path) -> str:
    """The first sentence of the comment that the file begins with."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return re.split(r'\.(?:\s|$)|: vanilla', ' '.join(lines))[0]


def _natural(name: str) -> list:
    """A key that sorts 'k-4096' before 'k-16384'."""
    return [
        float(part) if index % 2 else part
        for index, part in enumerate(re.split(r'(\d+(?:\.\d+)?)', name))
    ]


KNN = 'knn/k20_top1'


class Figures(NamedTuple):
    """What came of a run.

    Attributes:
        knn: Top-1 accuracy of k-NN with k = 20, in percent.
        linear: Of the best linear classifier, in percent.
        entropy: Of the teacher's targets at the end, in nats.
        kl: KL(teacher || student) at the end, in nats; None where the loss
            is no cross-entropy.
        information: What the targets tell about the image at the end, in
            nats; 0 is a collapse.
        collapse: What the monitor says of the end, or ''.
        seconds: Wall time of the last, perhaps only, try.
        folder: With the logs of the training, wherever it was moved.
    """
    knn: float
    linear: float
    entropy: float
    kl: Optional[float]
    information: float
    collapse: str
    seconds: float
    folder: str


class AblationRun:
    """A row with a seed, in a folder of its own.

    Args:
        path: The row's config.
        folder: Where it is run.
        base: What the row is put upon; None for the paper's setting.
        data: Folder that ``data/`` stands for in configs.
        epochs: Instead of the config's.
        seed: Of all random numbers.
        processes: GPUs, or CPU processes.

    Raises:
        ValueError: If the base lacks what the row changes or k-NN with k of
            20, or the epochs leave nothing after a warm-up.
    """

    def __init__(self,
                 path: Path,
                 folder: Path,
                 base: Optional[Path] = None,
                 data: Path = Path('data'),
                 epochs: Optional[int] = None,
                 seed: int = 0,
                 processes: int = 1) -> None:
        cfg = with_data(load_variant(path, base), data)
        if epochs is not None:
            cfg.train_cfg.max_epochs = epochs
        _check_epochs(cfg)
        _check_knn(cfg)
        cfg.randomness.seed = seed
        cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
        self.digest = digest(cfg, processes)
        cap_workers(cfg)
        self.config = cfg
        self.folder = folder
        self.data = data
        self.processes = processes

    def finished(self) -> Optional[Figures]:
        """Figures of an earlier run with the same config, of any table.

        Raises:
            ValueError: If the folder holds a run with another config.
        """
        own = self.folder / 'result.json'
        others = self.folder.parents[2].glob('*/*/*/result.json')
        for file in [own, *sorted(others)] if own.exists() else others:
            result = json.loads(file.read_text())
            if result.pop('digest') == self.digest:
                return Figures(**result, folder=str(file.parent / 'train'))
            if file == own:
                raise ValueError(
                    f'{own} is of another setting (epochs, base, data or '
                    'config): give another --work-dir, or delete it.')
        return None

    def run(self) -> Figures:
        """Train, from where an earlier try was stopped, and evaluate.

        Raises:
            subprocess.CalledProcessError: If a tool fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / 'config.py'
        self._own_folder()
        self.config.dump(config)
        start = time.time()
        train = self.folder / 'train'
        train.mkdir(exist_ok=True)
        arguments = [config, '--work-dir', train, '--resume', '--no-validate']
        call_tool('train', arguments, train, self.processes)
        checkpoint = find_latest_checkpoint(train)
        ends = {k: points[-1][1] for k, points in read_scalars(train).items()}
        scores = self._test(config, checkpoint)
        linear = _best_linear(scores)
        if linear is None:
            linear = self._probe(config, checkpoint)
        figures = dict(
            knn=scores[KNN],
            linear=linear,
            entropy=ends['teacher_entropy'],
            kl=ends.get('kl'),
            information=ends['target_information'],
            collapse=summarize(
                diagnose(self.config.model.head.out_dim,
                         **{key: ends[key]
                            for key in MONITORS})),
            seconds=time.time() - start)
        part = self.folder / 'result.json.part'
        part.write_text(json.dumps(dict(figures, digest=self.digest)))
        os.replace(part, self.folder / 'result.json')
        return Figures(**figures, folder=str(train))

    def _test(self, config: Path, checkpoint: str) -> Dict[str, float]:
        """What the config's test says of the checkpoint, not of the model in
        training: it may hold an average of its weights."""
        folder = self.folder / 'test'
        folder.mkdir(exist_ok=True)
        out = folder / 'metrics.json'
        call_tool('test',
                  [config, checkpoint, '--work-dir', folder, '--out', out],
                  folder, self.processes)
        return json.loads(out.read_text())

    def _own_folder(self) -> None:
        """Refuse to resume what another config has begun."""
        file = self.folder / 'digest.txt'
        if file.exists() and file.read_text() != self.digest:
            raise ValueError(
                f'{self.folder} holds a run that another setting (epochs, '
                'base, data or config) has begun: give another --work-dir, or '
                'delete it.')
        file.write_text(self.digest)

    def _probe(self, config: Path, checkpoint: str) -> float:
        """Accuracy of the suite's linear classifiers."""
        suite = SuiteRunner(
            str(config), checkpoint, self.data, self.folder / 'linear',
            self.processes)
        evaluation = next(e for e in EVALUATIONS if e.key == 'linear')
        outcome = suite.evaluate(evaluation)
        if outcome.lacking or outcome.error:
            raise RuntimeError(outcome.lacking or outcome.error)
        return outcome.values['top-1, %']


def digest(cfg: Config, processes: int) -> str:
    """Equal for equal settings, wherever they were written.

    Processes count: each has a batch of its own.
    """
    settings = {
        key: value
        for key, value in cfg.to_dict().items() if not key.startswith('_')
    }
    settings['processes'] = processes
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_epochs(cfg: Config) -> None:
    warmup = max((s.end for s in cfg.param_scheduler if s.type == 'LinearLR'),
                 default=0)
    if cfg.train_cfg.max_epochs <= warmup:
        raise ValueError(
            f'{cfg.train_cfg.max_epochs} epochs leave nothing after the '
            f'{warmup} of warm-up: give at least {warmup + 1}.')


def _check_knn(cfg: Config) -> None:
    metrics = cfg.test_evaluator
    metrics = metrics if isinstance(metrics, list) else [metrics]
    if not any(
            metric.type.endswith('KNNAccuracy')
            and 20 in metric.get('k', (20, )) for metric in metrics):
        raise ValueError('A table is scored by k-NN with k = 20: add '
                         "dict(type='KNNAccuracy', k=(20, )) to the base's "
                         'test_evaluator.')


def _best_linear(ends: Dict[str, float]) -> Optional[float]:
    """Accuracy of the config's own linear classifiers, if it has any."""
    return max((value for key, value in ends.items()
                if key.startswith('linear/') and key.endswith('_top1')),
               default=None)
