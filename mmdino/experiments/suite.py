"""The evaluation suite: the paper's evaluations of one checkpoint.

What each row measures is in :mod:`mmdino.experiments.rows`.
"""
import copy
import json
import os
import re
from functools import cached_property
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mmdino.datasets.benchmarks.layouts import LAYOUTS, first_missing
from mmdino.datasets.feature_rows import load_features
from mmdino.engine.configs import read_run
from mmdino.engine.testing import frozen
from mmdino.experiments.extraction import PARTS, feature_settings
from mmdino.experiments.jobs import (Attempt, Job, attempt, call_tool,
                                     take_folder)
from mmdino.experiments.rows import CHOSEN_ON, ROWS, Row, block_choices
from mmdino.experiments.settings import (MissingData, Settings, cap_workers,
                                         data_sets, describe, forget_listings,
                                         missing_data, set_options,
                                         split_options, with_data)
from mmdino.functional.low_shot import balanced_split
from mmdino.models.frozen.linear_probe import official_features
from mmdino.pictures.curves import read_scalars
from mmdino.utils.resources import find_config
from mmdino.weights import (find_checkpoint, list_models, open_weights,
                            resolve_network)
from mmdino.weights.infer import build_empty
from mmdino.weights.io import replaced

__all__ = ['ROWS', 'Suite', 'missing_data', 'with_data']


class Suite:
    """The evaluations of one checkpoint in one work dir.

    Args:
        config: Config of the pretraining run; None for the one that the
            checkpoint stores or, if it stores none, :func:`default_run`.
        checkpoint: The checkpoint.
        data: Folder of the data sets.
        folder: The work dir. Finished rows in it are not run again.
        processes: Number of GPUs, or of processes on CPUs.
        options: Values of settings: ``ROW.key`` of a row's config, or
            ``run.key`` of the config of the pretraining run.
        keys: Keys of the rows to run; by default all but the long ones.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If an option names none of these rows, or no setting.
    """

    def __init__(self,
                 config: str | None,
                 checkpoint: str,
                 data: Path,
                 folder: Path,
                 processes: int = 1,
                 options: Settings = {},
                 keys: list[str] | None = None) -> None:
        forget_listings()
        self.rows = [
            row for row in ROWS if (row.key in keys if keys else not row.long)
        ]
        if keys:
            self.rows.sort(key=lambda row: keys.index(row.key))
        config = config or default_run(checkpoint)
        self.checkpoint = find_checkpoint(checkpoint)
        if '://' not in self.checkpoint:
            self.checkpoint = os.path.abspath(self.checkpoint)
        self.data, self.folder, self.processes = data, folder, processes
        names = ['run', *(row.key for row in self.rows)]
        self.options = split_options(options, names)
        self.config = with_data(
            read_run(config, self.checkpoint, self.options.get('run')), data)
        cap_workers(self.config)
        for row in self.rows:  # raise errors of options before the first run
            if row.key in self.options:
                try:
                    self.prepare(row)
                except MissingData:
                    pass

    @property
    def own_data(self) -> str:
        """Return the name of the run's own test set."""
        dataset = self.queries
        return Path(dataset.get('data_root') or dataset.type).name

    @property
    def queries(self) -> dict:
        """Return the run's own test set."""
        return self.config.test_dataloader.dataset

    @property
    def gallery(self) -> dict:
        """Return the labelled images of the run's own test."""
        loop = self.config.get('test_cfg') or {}
        if 'gallery_dataloader' not in loop:
            raise ValueError('The config of the run has no '
                             'test_cfg.gallery_dataloader, which k-NN and '
                             'linear classifiers need: add one, or name '
                             'another config by --config.')
        return loop.gallery_dataloader.dataset

    def data_title(self, row: Row) -> str:
        """Return the name of a row's data."""
        return LAYOUTS[row.layout].title if row.layout else self.own_data

    def prepare(self, row: Row) -> Config:
        """Return the config of a row, with its options."""
        cfg = row.prepare(self)
        set_options(cfg, self.options.get(row.key, {}), row.key)
        cap_workers(cfg)
        return cfg

    def job(self, row: Row) -> Job:
        """Return the job of a row.

        Raises:
            MissingData: If its data are not there.
        """
        if row.layout:
            cause = first_missing(LAYOUTS[row.layout], self.data)
            if cause:
                raise MissingData(cause)
        cfg = self.prepare(row)
        settings = dict(row=row.key)
        if row.tool == 'train':
            settings['processes'] = self.processes  # changes the batch size
        if 'saved' in cfg:
            settings.update(describe(cfg, phases=()))
            settings.update(
                feature_settings(
                    self.embedding(cfg.saved), self.checkpoint, row.parts))
        else:
            settings.update(
                describe(
                    cfg,
                    checkpoint=self.checkpoint
                    if row.tool == 'test' else None))
        return Job(self.folder / row.key, settings,
                   lambda folder: self.run(row, cfg, folder))

    def attempt(self, row: Row) -> Attempt:
        """Run a row; return its result, or why there is none."""
        return attempt(lambda: self.job(row).carry_out())

    def state(self, row: Row) -> tuple[str, str]:
        """Return a row's config or tool, and its state or what is missing."""
        source = f'tools/{row.tool}.py'
        try:
            name = self.prepare(row).filename
            source = os.path.relpath(name) if name else source
            return source, self.job(row).state
        except MissingData as error:
            return source, f'skipped: {error}'
        except Exception as error:  # a bug in one row must not stop the others
            return source, f'fails: {type(error).__name__}: {error}'

    def run(self, row: Row, cfg: Config, folder: Path) -> dict:
        """Run a row's tool in its folder; return its figures or pictures."""
        saved = cfg.get('saved')
        if saved:
            self.extract(saved)
        if 'model' not in cfg:
            return self._draw(row, cfg, folder)
        if saved:
            self._use_features(cfg)
        config = folder / 'config.py'
        dump(cfg, config)
        arguments = [config, '--work-dir', folder]
        if row.tool == 'train':
            call_tool('train', [*arguments, '--resume'], folder,
                      self.processes)
            figures = last_figures(folder)
        else:
            out = folder / 'metrics.json'
            if not saved:
                arguments.insert(1, self.checkpoint)
            call_tool('test', [*arguments, '--out', out], folder,
                      1 if saved else self.processes)
            figures = json.loads(out.read_text())
        values = dict(row.values)
        if row.key == 'linear' and not saved:
            values.update(self.authors_rate())
        return dict(values=name_figures(figures, values))

    def authors_rate(self) -> dict[str, str]:
        """Return the name of the figure of DINO's own learning rate.

        Returns:
            A dict such as the ``values`` of a :class:`.Row`. The learning rate
            is .3 for ResNets, and .001 for ViTs and XCiTs.
        """
        rate = .3 if 'ResNet' in self.network['backbone']['type'] else .001
        return {
            f'linear/lr{rate:g}_top1':
            "top-1 at the authors' rate of "
            f'{rate:g}, %'
        }

    def _draw(self, row: Row, cfg: Config, folder: Path) -> dict:
        features = self.folder / cfg.pop('saved')
        options = [
            text for key, value in cfg.items()
            for text in (f'--{key}', str(value))
        ]
        if row.key == 'tsne':
            options += [
                '--features', features / 'queries.npz', '--out', folder
            ]
        else:
            options += [
                '--features', features, features / 'config.py',
                self.checkpoint, '--out', folder / f'{row.key}.png'
            ]
        call_tool(row.tool, options, folder)
        pictures = sorted(folder.glob('*.png'))
        return dict(
            pictures=[str(p.relative_to(self.folder)) for p in pictures])

    def embedding(self, name: str) -> Config:
        """Return the run's config with a model for certain features.

        Args:
            name: 'features', 'linear_features' or 'blocks_features'.
        """
        run = copy.deepcopy(self.config)
        features = dict(
            linear_features=lambda: official_features(self.backbone),
            blocks_features=lambda: block_choices(self.backbone)).get(name)
        if features:
            run.model = dict(frozen(run.model), features=features())
        return run

    def extract(self, name: str) -> None:
        """Save features, once."""
        folder, cfg = self.folder / name, self.embedding(name)
        take_folder(folder, feature_settings(cfg, self.checkpoint))
        if not all((folder / f'{part}.npz').exists() for part in PARTS):
            dump(cfg, folder / 'config.py')
            call_tool('extract_features',
                      [folder / 'config.py', self.checkpoint, '--out', folder],
                      folder, self.processes)

    def _use_features(self, cfg: Config) -> None:
        """Put the names of feature files into a config.

        For a share of the labels, also the indices of the labelled images.
        """
        folder = self.folder / cfg.pop('saved')
        share = cfg.pop('label_share', None)
        for dataset in feature_rows(cfg):
            part = dataset['path']
            dataset['path'] = str(folder / f'{part}.npz')
            if share and part == 'gallery':
                labels = load_features(dataset['path']).labels
                if labels is None:
                    raise MissingData(f'{self.own_data} has no labels.')
                dataset['indices'] = balanced_split(
                    labels.tolist(), share, seed=0)

    @cached_property
    def network(self) -> dict:
        """Return the config of the network."""
        model = self.config.model
        return resolve_network(
            open_weights(self.checkpoint, given=model), model)

    @property
    def backbone(self) -> nn.Module:
        """Return the network's backbone, without weights."""
        return build_empty(self.network['backbone'])


def default_run(checkpoint: str) -> str | None:
    """Return the config of the data for a checkpoint without a config.

    It is that of a published model or, for other checkpoints, that of k-NN on
    ImageNet, which is logged.

    Returns:
        Path of the config; None if the checkpoint holds the config of its run.
    """
    weights = open_weights(checkpoint)
    if weights.meta.get('cfg'):
        return None
    published = {model.name: model.config for model in list_models()}
    config = published.get(checkpoint) or 'benchmarks/knn.py'
    print_log(
        f'{checkpoint} holds no config of a run: rows without a benchmark '
        f'data set use the data of {config}, in the folder of --data. For '
        'other data name a config by --config.',
        logger='current')
    return str(find_config(config))


def feature_rows(cfg: Config) -> list[dict]:
    """Return the data sets of saved features, also those inside others."""
    found, left = [], [dataset for _, dataset in data_sets(cfg)]
    while left:
        dataset = left.pop()
        if dataset['type'] == 'FeatureRows':
            found.append(dataset)
        left += dataset.get('datasets', [])
        left += [dataset['dataset']] if 'dataset' in dataset else []
    return found


def dump(cfg: Config, path: Path) -> None:
    """Write a config, completely or not at all."""
    with replaced(str(path)) as part:
        cfg.dump(part)


def name_figures(figures: dict[str, float],
                 values: dict[str, str]) -> dict[str, float]:
    """Return the figures that a row reports, by their names.

    Args:
        figures: All figures, by the keys of the metrics.
        values: As in :class:`.Row`.

    Raises:
        RuntimeError: If there is none of them.
    """
    named = {}
    for pattern, name in values.items():
        for key, value in figures.items():
            match = re.fullmatch(pattern, key)
            if match:
                named[match.expand(name)] = value
    if not named:
        raise RuntimeError(f'None of the figures {sorted(values)} was '
                           f'measured. The measured ones are '
                           f'{sorted(figures)}: check the test_evaluator.')
    return named


def last_figures(folder: Path) -> dict[str, float]:
    """Return the last figures of a training, or its best for linear probes.

    DINO's authors report the best epoch of their linear classifiers. If a
    probe chooses its best head on held-out images, the epoch is chosen on
    these images as well.
    """
    scalars = read_scalars(folder)
    figures = {key: points[-1][1] for key, points in scalars.items()}
    choice = [value for _, value in scalars.get(CHOSEN_ON, ())]
    if choice:
        best = choice.index(max(choice))
        return {
            key: points[best][1]
            for key, points in scalars.items() if key.startswith('linear/')
        }
    for key, points in scalars.items():
        if key.startswith('linear/') and key.endswith('_top1'):
            figures[key] = max(value for _, value in points)
    if 'linear/best_lr' in figures:
        tops = [value for _, value in scalars['linear/best_top1']]
        rates = [value for _, value in scalars['linear/best_lr']]
        figures['linear/best_lr'] = rates[tops.index(max(tops))]
    return figures
