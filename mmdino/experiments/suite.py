"""The evaluation suite: the paper's evaluations of one checkpoint.

A row takes protocol and measure from a config of ``configs/`` and the network
from the checkpoint. Those without a benchmark of their own measure on the
test set of the pretraining run against its gallery.
"""
import copy
import json
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mmdino.datasets.benchmarks.layouts import LAYOUTS, first_missing
from mmdino.datasets.feature_rows import load_features
from mmdino.engine.configs import read_config, read_run
from mmdino.engine.testing import frozen
from mmdino.experiments.extraction import PARTS, feature_settings, test_only
from mmdino.experiments.jobs import (Attempt, Job, attempt, call_tool,
                                     take_folder)
from mmdino.experiments.settings import (MissingData, Settings, cap_workers,
                                         data_sets, describe, forget_listings,
                                         list_data, missing_data, set_options,
                                         split_options, with_data)
from mmdino.functional.low_shot import balanced_split
from mmdino.models.frozen.features import require_blocks
from mmdino.models.frozen.linear_probe import official_features
from mmdino.pictures.curves import read_scalars
from mmdino.utils.resources import find_config, resource
from mmdino.weights import (find_checkpoint, list_models, open_weights,
                            resolve_network)
from mmdino.weights.infer import build_empty
from mmdino.weights.io import replaced

__all__ = ['ROWS', 'Suite', 'missing_data', 'with_data']

CONFIGS = resource('configs')
# Learning rates of linear classifiers on other data than ImageNet: fewer
# images, thus fewer steps.
OWN_RATES = [.01, .03, .1, .3, 1., 3., 10., 30.]
CHOSEN_ON = 'linear/chosen_on_top1'
WORDNET = re.compile(r'n\d{8}')


class Row(NamedTuple):
    """One row of the suite.

    Attributes:
        key: Its name on the command line and that of its folder.
        title: What is measured.
        tool: Which script of tools/ runs it.
        prepare: Makes the config to run; the options of a picture.
        values: Names of the figures, by patterns of the metrics' keys.
        layout: Its data, a key of ``LAYOUTS``; None for the run's own.
        parts: Of the saved features, those that it reads, if any.
        long: Whether it takes a day and is run only when asked for.
    """
    key: str
    title: str
    tool: str
    prepare: Callable[['Suite'], Config]
    values: dict[str, str] = {}
    layout: str | None = None
    parts: tuple[str, ...] = PARTS
    long: bool = False


class Suite:
    """The evaluations of one checkpoint in one work dir.

    Args:
        config: Config file of the pretraining run; None for the one that the
            checkpoint keeps, else :func:`default_run`.
        checkpoint: Its checkpoint.
        data: Folder of the data sets.
        folder: The work dir; what was finished there before is kept.
        processes: GPUs, or CPU processes.
        options: ``ROW.key=value`` for a row's config, ``run.key=value`` for
            that of the run, on whose own data rows measure.
        keys: Of the rows to run; all but the long ones by default.

    Raises:
        FileNotFoundError: If config or checkpoint does not exist.
        ValueError: If an option names no row of these, or no setting.
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
        for row in self.rows:  # a wrong option stops all at once
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
                             'test_cfg.gallery_dataloader to compare with.')
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
            settings['processes'] = self.processes  # a batch each
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
        """Run a row, or tell what is missing or failed."""
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
        except Exception as error:  # a bug in a row is not to hide the others
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
        """Return the authors' rate for ViTs and XCiTs, or for ResNets."""
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
        """Return the run's config with the model that gives these features."""
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

        With the rows whose labels it may see.
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
    """Return the config whose data serve a checkpoint without a config.

    That of a published model, else ImageNet's, which the log says. None if
    the file holds the config of its run.
    """
    weights = open_weights(checkpoint)
    if weights.meta.get('cfg'):
        return None
    published = {model.name: model.config for model in list_models()}
    config = published.get(checkpoint) or 'benchmarks/knn.py'
    print_log(
        f'{checkpoint} holds no config of a run: what needs data of its own '
        f'is measured on those of {config}, in the folder of --data. Give '
        '--config to measure on others.',
        logger='current')
    return str(find_config(config))


def feature_rows(cfg: Config) -> list[dict]:
    """Iterate the data sets of saved features, also inside others."""
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
        raise RuntimeError(f'None of the figures {sorted(values)} is among '
                           f'those that were measured: {sorted(figures)}.')
    return named


def last_figures(folder: Path) -> dict[str, float]:
    """Return a training's last figures; of linear classifiers the best.

    DINO's authors report the best epoch of their linear classifiers. Where
    the best is chosen on images of its own, so is the epoch.
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


def is_imagenet(classes: tuple[str, ...] | None) -> bool:
    """Return whether classes are ImageNet's 1,000, by WordNet ids."""
    return bool(classes) and len(classes) == 1000 and all(
        WORDNET.fullmatch(name) for name in classes)


def put_network(cfg: Config, suite: Suite) -> None:
    """Add the network config where a foreign checkpoint has none."""
    if open_weights(suite.checkpoint).network is None:
        network = frozen(suite.config.model)
        cfg.model.update({
            k: v
            for k, v in network.items() if k not in cfg.model
        })


def benchmark(name: str) -> Callable[[Suite], Config]:
    """Return a config of ``configs/benchmarks`` with the suite's data."""

    def prepare(suite: Suite) -> Config:
        cfg = read_config(str(CONFIGS / 'benchmarks' / f'{name}.py'))
        put_network(cfg, suite)
        return with_data(cfg, suite.data)

    return prepare


def knn(suite: Suite) -> Config:
    """Return the config of k-NN on saved features."""
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'knn_features.py'))
    return _read_features(cfg)


def low_shot(share: float) -> Callable[[Suite], Config]:
    """Return the config of logistic regression on a share of the labels."""

    def prepare(suite: Suite) -> Config:
        cfg = read_config(str(CONFIGS / 'benchmarks' / 'low-shot_features.py'))
        cfg.label_share = share
        return _read_features(cfg)

    return prepare


def _read_features(cfg: Config, name: str = 'features') -> Config:
    """Let loaders read saved features; the files are named later."""
    cfg.saved = name
    cfg.test_dataloader.dataset.path = 'queries'
    cfg.test_cfg.gallery_dataloader.dataset.path = 'gallery'
    return cfg


def linear_imagenet(suite: Suite) -> Config:
    """Return the config of the authors' linear protocol on ImageNet."""
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'linear.py'))
    put_network(cfg, suite)
    cfg.model.checkpoint = suite.checkpoint
    cfg.pop('data_root')  # the data sets of the run name theirs
    for phase, own in (('train', suite.gallery), ('val', suite.queries),
                       ('test', suite.queries)):
        loader = cfg[f'{phase}_dataloader']
        loader.dataset = dict(own, pipeline=loader.dataset.pipeline)
    return cfg


def linear(suite: Suite) -> Config:
    """Return the config of the linear probe.

    On other data than ImageNet, on saved features.

    It then sees the pictures as k-NN does, and has OWN_RATES.
    """
    cfg = linear_imagenet(suite)
    classes = list_data(suite.gallery).classes
    if is_imagenet(classes):
        return cfg
    pooled = official_features(suite.backbone)['type'] == 'PooledFeatures'
    _use_rows(cfg, suite, 'features' if pooled else 'linear_features')
    for phase, part in (('train', 'gallery'), ('val', 'queries'), ('test',
                                                                   'queries')):
        cfg[f'{phase}_dataloader'].dataset = dict(
            type='FeatureRows', path=part)
    return cfg


def _use_rows(cfg: Config, suite: Suite, saved: str) -> None:
    """Let a linear probe train on saved features, with OWN_RATES."""
    classes = list_data(suite.gallery).classes
    if not classes:
        raise MissingData(f'{suite.own_data} has no classes.')
    cfg.saved = saved
    cfg.custom_imports = dict(imports=['mmdino.experiments.extraction'])
    cfg.model.update(
        type='SavedFeaturesProbe',
        num_classes=len(classes),
        learning_rates=OWN_RATES)
    cfg.train_cfg.update(max_epochs=100, val_interval=10)
    for phase in ('train', 'val', 'test'):
        cfg[f'{phase}_dataloader'].update(
            num_workers=0, persistent_workers=False)


def linear_blocks(suite: Suite) -> Config:
    """Return the config of DINOv2's linear evaluation.

    On other data than ImageNet, on saved features.
    """
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'linear-blocks.py'))
    cfg.model.features = block_choices(suite.backbone)
    put_network(cfg, suite)
    cfg.model.checkpoint = suite.checkpoint
    cfg.pop('data_root')
    learnt, judged = suite.gallery, suite.queries
    if not is_imagenet(list_data(suite.gallery).classes):
        _use_rows(cfg, suite, 'blocks_features')
        learnt, judged = (
            dict(type='FeatureRows', path=part)
            for part in ('gallery', 'queries'))
    train = cfg.train_dataloader.dataset
    train.dataset = _with_pipeline(learnt, train.dataset)
    for phase in ('val', 'test'):
        held_out, test = parts = cfg[f'{phase}_dataloader'].dataset.datasets
        held_out.dataset = _with_pipeline(learnt, held_out.dataset)
        parts[1] = _with_pipeline(judged, test)
    return cfg


def _with_pipeline(dataset: dict, like: dict) -> dict:
    """Return a data set of images with the pipeline of another one."""
    if dataset['type'] == 'FeatureRows':
        return dict(dataset)
    return dict(dataset, pipeline=like.pipeline)


def block_choices(backbone: nn.Module) -> dict:
    """Return features of 1 and 4 blocks, or of all if there are fewer.

    Raises:
        MissingData: If the network has no blocks with class tokens.
    """
    try:
        require_blocks(backbone)
    except ValueError as error:
        raise MissingData(str(error)) from error
    blocks = sorted({1, min(4, backbone.num_layers)})
    return dict(type='BlocksAndMean', blocks=blocks)


def fine_tune(name: str) -> Callable[[Suite], Config]:
    """Return a fine-tuning config with the checkpoint's ViT."""

    def prepare(suite: Suite) -> Config:
        cfg = read_config(f'transfer/mmpretrain/finetune_{name}')
        backbone = suite.backbone
        if not hasattr(backbone, 'get_layer_depth'):
            raise ValueError('the fine-tuning configs are for a ViT, not for '
                             f'a {type(backbone).__name__}')
        cfg.model.backbone = suite.network['backbone']
        cfg.model.checkpoint = suite.checkpoint
        return with_data(cfg, suite.data)

    return prepare


def own_attention(suite: Suite) -> Config:
    """Return the test of attention on the run's own test set."""
    evaluators = suite.config.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    wanted = [e for e in evaluators if e.type == 'AttentionJaccard']
    if not wanted:
        raise MissingData('the config tests no AttentionJaccard: its data '
                          'have no masks')
    cfg = test_only(suite.config, suite.config.test_dataloader)
    cfg.test_cfg.type = 'mmdino.GalleryTestLoop'
    cfg.test_evaluator = wanted
    return cfg


def own_discovery(suite: Suite) -> Config:
    """Return the test of object discovery on the run's own test set."""
    cfg = own_attention(suite)
    cfg.model = dict(type='mmdino.ObjectFinder')
    put_network(cfg, suite)
    cfg.test_evaluator = [dict(type='CorLoc'), dict(type='CenterBoxCorLoc')]
    return cfg


def own_dense(suite: Suite) -> Config:
    """Return the test of patches on the run's own synthetic images."""
    parts = suite.queries, suite.gallery
    if any(part.type.rpartition('.')[2] != 'ShapeScenes' for part in parts):
        raise MissingData('only ShapeScenes has the class of every pixel of '
                          'its test set and gallery')
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'dense-shapescenes.py'))
    put_network(cfg, suite)
    loaders = cfg.test_dataloader, cfg.test_cfg.gallery_dataloader
    for loader, part in zip(loaders, parts):
        loader.dataset.update({
            key: part[key]
            for key in ('num_images', 'split', 'img_size', 'seed', 'area')
            if key in part
        })
    return cfg


def baselines(suite: Suite) -> Config:
    """Return the test of k-NN without any training."""
    if not list_data(suite.gallery).classes:
        raise MissingData(f'{suite.own_data} has no classes.')
    cfg = test_only(suite.config, suite.config.test_dataloader)
    cfg.test_cfg.update(
        type='mmdino.BaselineTestLoop',
        gallery_dataloader=suite.config.test_cfg.gallery_dataloader)
    cfg.test_evaluator = knn(suite).test_evaluator
    return cfg


def picture(**options) -> Callable[[Suite], Config]:
    """Return a function that draws saved features with a tool."""
    return lambda suite: Config(dict(options, saved='features'))


KNN = {r'knn/k(\d+)_top1': r'\1-NN top-1, %'}
LOW_SHOT = {r'low_shot/c([\d.e+-]+)_top1': r'top-1, C = \1, %'}
LINEAR = {
    'linear/best_top1': 'top-1, %',
    'linear/best_lr': 'learning rate of 256 images'
}
LINEAR_BLOCKS = {
    **LINEAR, 'linear/best_blocks': 'blocks',
    'linear/best_mean': 'with the mean patch token',
    CHOSEN_ON: 'top-1 of the held-out images, %'
}
KNN_BASELINES = {
    r'knn/k(\d+)_top1_pixels': r'\1-NN top-1 of raw pixels, %',
    r'knn/k(\d+)_top1_untrained': r'\1-NN top-1 of the untrained network, %'
}
JACCARD = {
    'attention/jaccard': 'Jaccard index',
    'attention/jaccard_untrained': 'Jaccard index of the untrained network'
}
CORLOC = {
    'discovery/corloc': 'CorLoc, %',
    'discovery/corloc_center': 'CorLoc of the best box in the middle, %'
}
DENSE = {
    r'dense/(knn|linear)_miou': r'mIoU, \1, %',
    r'dense/(knn|linear)_accuracy': r'pixel accuracy, \1, %'
}
RETRIEVAL = {
    r'retrieval/medium_map': 'mAP, Medium',
    r'retrieval/medium_mp10': 'mP@10, Medium',
    r'retrieval/hard_map': 'mAP, Hard',
    r'retrieval/hard_mp10': 'mP@10, Hard',
    'retrieval/medium_map_pixels': 'mAP of raw pixels, Medium',
    'retrieval/medium_map_untrained': 'mAP of the untrained network, Medium'
}
DAVIS = {
    'davis/jf_mean': 'J&F mean',
    r'davis/j_(mean|recall|decay)': r'J \1',
    r'davis/f_(mean|recall|decay)': r'F \1'
}
HEAD = 'attention of the best head'
FOUND = 'one object an image, found without labels'
PATCHES = 'classes of pixels, by k-NN and a linear layer of patches'

ROWS: tuple[Row, ...] = (
    Row('knn', 'k-NN', 'test', knn, KNN),
    Row('baselines', 'k-NN without training', 'test', baselines,
        KNN_BASELINES),
    Row('linear', 'linear classifier, best epoch and rate', 'train', linear,
        LINEAR),
    Row(
        'linear-blocks',
        'linear classifier; blocks, pooling, rate and epoch chosen on '
        'held-out images', 'train', linear_blocks, LINEAR_BLOCKS),
    Row('low-shot-1', 'logistic regression, 1% of the labels', 'test',
        low_shot(.01), LOW_SHOT),
    Row('low-shot-10', 'logistic regression, 10% of the labels', 'test',
        low_shot(.1), LOW_SHOT),
    Row('attention', HEAD, 'test', own_attention, JACCARD),
    Row('voc12', HEAD, 'test', benchmark('attention-voc12'), JACCARD,
        'voc2012'),
    Row('discovery', FOUND, 'test', own_discovery, CORLOC),
    Row('discovery-voc07', FOUND, 'test', benchmark('discovery-voc07'), CORLOC,
        'voc2007'),
    Row('dense', PATCHES, 'test', own_dense, DENSE),
    Row('dense-voc12', PATCHES, 'test', benchmark('dense-voc12'), DENSE,
        'voc2012_classes'),
    Row('dense-ade20k', PATCHES, 'test', benchmark('dense-ade20k'), DENSE,
        'ade20k'),
    Row('roxford', 'retrieval, 224 px, one scale', 'test',
        benchmark('retrieval-roxford'), RETRIEVAL, 'roxford5k'),
    Row('rparis', 'retrieval, 512 px, three scales', 'test',
        benchmark('retrieval-rparis_multi-scale'), RETRIEVAL, 'rparis6k'),
    Row('copydays', 'copy detection', 'test', benchmark('copydays'),
        {'copydays/map': 'mAP'}, 'copydays'),
    Row('davis', 'video segmentation', 'test', benchmark('davis'), DAVIS,
        'davis2017'),
    *(Row(
        f'fine-tune-{name}',
        'fine-tuning',
        'train',
        fine_tune(name), {'accuracy/top1': 'top-1, %'},
        name,
        long=True) for name in ('cifar10', 'cifar100', 'flowers102', 'cars',
                                'inat18', 'inat19', 'imagenet')),
    Row('tsne',
        't-SNE',
        'visualization/tsne',
        picture(seed=0),
        parts=('queries', )),
    Row('nearest', 'nearest neighbours', 'visualization/nearest',
        picture(queries=8, k=8)),
)
