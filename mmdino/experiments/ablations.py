"""The ablation tables of configs/ablations/, and the runs of their rows.

A table is a file with named rows. Each row changes a setting of a base config:
the paper's ViT-S/16 of 100 epochs, or any other config.
"""
import copy
import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from mmdino.engine.configs import read_config
from mmdino.engine.hooks.monitoring import MONITORS, diagnose, summarize
from mmdino.experiments.jobs import Job, call_tool
from mmdino.experiments.settings import (Settings, cap_workers, describe,
                                         digest, forget_listings, set_options,
                                         split_options, with_data)
from mmdino.experiments.suite import Suite, dump
from mmdino.pictures.curves import read_scalars
from mmdino.utils.names import suggest
from mmdino.utils.resources import resource

ABLATIONS = resource('configs') / 'ablations'
PAPER = resource('configs') / 'dino_vit-s16.py'
BASES = {p.stem: p for p in sorted((ABLATIONS / '_base_').glob('*.py'))}
TABLES = sorted(p.stem for p in ABLATIONS.glob('*.py'))
KNN = 'knn/k20_top1'
PATCHES = dict(  # fields of Figures and their titles
    patch_knn='patches, k-NN, mIoU, %',
    patch_linear='patches, linear, mIoU, %')


class Row(NamedTuple):
    """One row of an ablation table: a change of the base config.

    Attributes:
        table: Name of the table.
        name: Name of the row.
        title: What the row changes, in words.
        settings: Settings that are merged into the base, as those of an
            inheriting config would be, ``_delete_`` included. A value may be a
            function, which is called with the base and returns the value.
        dense (str, optional): Name of a benchmark of patch features, see
            :class:`.DenseTestLoop`, that the table has in addition to the test
            of the base.
    """
    table: str
    name: str
    title: str
    settings: dict
    dense: str | None = None


def find_rows(name: str, rows: Sequence[str] | None = None) -> list[Row]:
    """Return the rows of a table, in its order.

    Args:
        name: One of ``TABLES``.
        rows: Names of rows; by default all.

    Raises:
        ValueError: If there is no such table or row.
    """
    _require('table', name, TABLES)
    content = runpy.run_path(str(ABLATIONS / f'{name}.py'))
    found = content['rows']
    for row in rows or ():
        _require(f'row of the table {name!r}', row, list(found))
    chosen = {row: dict(found[row]) for row in rows or found}
    return [
        Row(name, row, settings.pop('title'), settings, content.get('dense'))
        for row, settings in chosen.items()
    ]


def _require(what: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise ValueError(f'There is no {what} called {name!r}. Choose one of '
                         f'{known}.{suggest(name, known)}')


def merge_row(row: Row, base: Config) -> Config:
    """Merge the config of a row into a base.

    Raises:
        ValueError: If the base lacks what the row changes.
    """
    cfg = copy.deepcopy(base)
    try:
        cfg.merge_from_dict(_resolve(row.settings, base))
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f'The row {row.table}/{row.name} changes a setting that '
            f'{base.filename} does not have ({error}): choose other rows by '
            '--rows.') from error
    return cfg


def _resolve(node: Any, base: Config) -> Any:
    """Return a copy in which functions are replaced by their values."""
    if callable(node):
        return copy.deepcopy(node(base))
    if isinstance(node, dict):
        return {key: _resolve(value, base) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value, base) for value in node]
    return node


class Figures(NamedTuple):
    """The measured figures of a run.

    Attributes:
        knn: Top-1 accuracy of k-NN with k = 20, in percent.
        classifier: Top-1 accuracy of the best classifier on the features, in
            percent.
        entropy: Entropy of the teacher's targets at the end, in nats.
        kl: KL(teacher || student) at the end, in nats; None if the loss is not
            a cross-entropy.
        information: Mutual information of images and targets at the end, in
            nats; 0 means collapse.
        collapse: The collapse at the end in a few words, or ''.
        seconds: Wall time of training and test; of jobs that were resumed,
            that of the last part.
        folder: Folder with the logs of the training.
        patch_knn: Mean IoU of pixel classes by k-NN of patches, in percent;
            None if the table has no benchmark of patches.
        patch_linear: Mean IoU by a linear layer on patches, likewise.
    """
    knn: float
    classifier: float
    entropy: float
    kl: float | None
    information: float
    collapse: str
    seconds: float
    folder: str
    patch_knn: float | None = None
    patch_linear: float | None = None


class Ablation:
    """The runs of a table's rows with one base config.

    Args:
        base: Name of the base config; None for the paper's setting.
        root: Work dir of all tables of this base.
        data: Folder that replaces ``data/`` in configs.
        epochs: Number of epochs, if not that of the base.
        processes: Number of GPUs, or of processes on CPUs.
        options: Values by the names of settings: ``key.key`` of the base,
            ``ROW.key.key`` of one row, ``linear.key.key`` of the linear
            classifiers, or ``dense.key.key`` of the benchmark of patches.
        rows: The rows that options may name.

    Raises:
        ValueError: If an option names no setting, or the base's test has no
            k-NN with k = 20.
    """

    def __init__(self,
                 base: str | None = None,
                 root: Path = Path('work_dirs/ablations'),
                 data: Path = Path('data'),
                 epochs: int | None = None,
                 processes: int = 1,
                 options: Settings = {},
                 rows: Sequence[Row] = ()) -> None:
        forget_listings()
        name = str(BASES.get(base, base or PAPER))
        self.options = split_options(
            options, ['linear', 'dense', *(row.name for row in rows)],
            list(read_config(name)))
        self.base = read_config(name, self.options.get(''))
        if epochs is not None:
            self.base.train_cfg.max_epochs = epochs
        self.root, self.data, self.processes = root, data, processes
        _require_knn(self.base)
        self.classifier = _classifier(self.base)
        for row in rows:  # raise errors of options before the first run
            if row.name in self.options:
                self.config(row)
        linear = self.options.get('linear', {})
        if linear and self.classifier:
            raise ValueError('--cfg-options linear.*: the base is scored by '
                             'logistic regression, and no linear classifier '
                             'is trained: leave these options out.')
        set_options(read_config('benchmarks/linear'), linear, 'linear')
        for row in rows[:1]:
            self.dense(row)

    def config(self, row: Row, seed: int = 0) -> Config:
        """Return the complete config of a row, as tools/train.py runs it.

        Raises:
            ValueError: If the base lacks what the row changes.
        """
        cfg = merge_row(row, self.base)
        set_options(cfg, self.options.get(row.name, {}), row.name)
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
        cfg.work_dir = str(self.root / row.table / row.name)
        return cfg

    def dense(self, row: Row) -> Config | None:
        """Return the config of the table's benchmark of patches, or None.

        Raises:
            ValueError: If there are options for it and the table has none.
        """
        options = self.options.get('dense', {})
        if row.dense is None:
            if options:
                raise ValueError(f'--cfg-options dense.*: the table '
                                 f'{row.table} has no benchmark of patches: '
                                 'leave these options out.')
            return None
        cfg = read_config(f'benchmarks/{row.dense}')
        set_options(cfg, options, 'dense')
        return with_data(cfg, self.data)

    def equals_base(self, row: Row) -> bool:
        """Return whether a row is the base itself under another name."""
        plain = Row(row.table, row.name, row.title, {})
        return describe(self.config(row),
                        ()) == describe(self.config(plain), ())

    def jobs(self, row: Row, seed: int) -> list[Job]:
        """Return the jobs of a row and a seed: training, test, patches.

        They use the row's own folder or, if another row (of any table) was
        already trained with the same settings, the folder of that row.

        Raises:
            MissingData: If the data are not there.
            ValueError: If the row changes a setting that the base lacks.
        """
        cfg = with_data(self.config(row, seed), self.data)
        cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
        others = dict(processes=self.processes)  # they change the batch size
        trained = describe(_training(cfg), ('train', ), **others)
        tested = describe(cfg, ('train', 'test'), **others)
        cap_workers(cfg)
        folder = self._folder(row, seed, trained)
        jobs = [
            Job(folder / 'train', trained,
                lambda path: self._train(cfg, path)),
            Job(folder / 'test', tested, lambda path: self._test(cfg, path))
        ]
        dense = self.dense(row)
        if dense is not None:
            settings = describe(dense, ('test', ), training=digest(trained))
            cap_workers(dense)
            jobs.append(
                Job(folder / 'dense', settings,
                    lambda path: self._test(dense, path)))
        return jobs

    def _folder(self, row: Row, seed: int, trained: Settings) -> Path:
        own = self.root / row.table / row.name / f'seed_{seed}'
        others = sorted(self.root.glob('*/*/*/train/result.json'))
        for folder in (own, *(file.parents[1] for file in others)):
            if Job(folder / 'train', trained, dict).result:
                return folder
        return own

    def figures(self, row: Row, seed: int) -> dict:
        """Run the unfinished jobs of a row and return its :class:`Figures`."""
        train, *tests = self.jobs(row, seed)
        ends = train.carry_out()
        scores, *dense = (test.carry_out() for test in tests)
        patches = {
            name: dense[0][f'dense/{name.removeprefix("patch_")}_miou']
            for name in PATCHES if dense
        }
        if self.classifier:
            classifier = max(value for key, value in scores.items()
                             if key.startswith(f'{self.classifier}/')
                             and key.endswith('_top1'))
        else:
            classifier = self._probe(train.folder)
        return dict(
            ends,
            knn=scores[KNN],
            classifier=classifier,
            seconds=ends['seconds'] + scores['seconds'],
            folder=str(train.folder),
            **patches)

    def _train(self, cfg: Config, folder: Path) -> dict:
        """Train, continuing an interrupted run; return the last figures."""
        config = folder / 'config.py'
        dump(cfg, config)
        call_tool('train',
                  [config, '--work-dir', folder, '--resume', '--no-validate'],
                  folder, self.processes)
        ends = {k: p[-1][1] for k, p in read_scalars(folder).items()}
        verdict = diagnose(cfg.model.head.out_dim,
                           **{key: ends[key]
                              for key in MONITORS})
        return dict(
            entropy=ends['teacher_entropy'],
            kl=ends.get('kl'),
            information=ends['target_information'],
            collapse=summarize(verdict))

    def _test(self, cfg: Config, folder: Path) -> dict[str, float]:
        """Test the last checkpoint.

        Unlike the model in training, it may hold averaged weights.
        """
        config, out = folder / 'config.py', folder / 'metrics.json'
        dump(cfg, config)
        checkpoint = find_latest_checkpoint(folder.with_name('train'))
        call_tool('test',
                  [config, checkpoint, '--work-dir', folder, '--out', out],
                  folder, self.processes)
        return json.loads(out.read_text())

    def _probe(self, train: Path) -> float:
        """Return the accuracy of the suite's linear classifiers."""
        options = {
            f'linear.{key}': value
            for key, value in self.options.get('linear', {}).items()
        }
        suite = Suite(
            str(train / 'config.py'), find_latest_checkpoint(train), self.data,
            train.with_name('linear'), self.processes, options, ['linear'])
        return suite.job(suite.rows[0]).carry_out()['values']['top-1, %']

    @property
    def classifier_title(self) -> str:
        """Return the name of the classifier beside k-NN."""
        return 'logistic regression' if self.classifier else 'linear'


def _training(cfg: Config) -> Config:
    """Return the settings that the training depends on, without validation."""
    unused = ('val_', 'test_')
    return Config({k: v for k, v in cfg.items() if not k.startswith(unused)})


def _classifier(cfg: Config) -> str | None:
    """Return the prefix of the test's logistic regression, if it has one."""
    for metric in _metrics(cfg):
        if metric.type.endswith('LowShotAccuracy'):
            return metric.get('prefix', 'low_shot')
    return None


def _require_knn(cfg: Config) -> None:
    if not any(
            metric.type.endswith('KNNAccuracy')
            and 20 in metric.get('k', (20, )) for metric in _metrics(cfg)):
        raise ValueError('Tables are scored by k-NN with k = 20, which the '
                         "base does not test: add dict(type='KNNAccuracy', "
                         'k=(20, )) to its test_evaluator.')


def _metrics(cfg: Config) -> list[dict]:
    metrics = cfg.get('test_evaluator') or []
    return metrics if isinstance(metrics, list) else [metrics]
