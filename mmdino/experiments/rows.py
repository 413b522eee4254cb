"""The rows of the evaluation suite: what each measures, and its config.

A row takes the protocol and the measure from a config in ``configs/``, and the
network from the checkpoint. Rows without a benchmark data set use the test set
and the gallery of the pretraining run.
"""
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mmengine.config import Config
from torch import nn

from mmdino.engine.configs import read_config
from mmdino.engine.testing import frozen
from mmdino.experiments.extraction import PARTS, test_only
from mmdino.experiments.settings import MissingData, list_data, with_data
from mmdino.models.frozen.features import require_blocks
from mmdino.models.frozen.linear_probe import official_features
from mmdino.utils.resources import resource
from mmdino.weights import open_weights

CONFIGS = resource('configs')
# Learning rates of linear classifiers on other data than ImageNet, which has
# more images and thus more steps.
OWN_RATES = [.01, .03, .1, .3, 1., 3., 10., 30.]
CHOSEN_ON = 'linear/chosen_on_top1'
WORDNET = re.compile(r'n\d{8}')


class Run(Protocol):
    """The pretraining run that a row's config is made for, a :class:`.Suite`.

    Attributes:
        config: Config of the run.
        checkpoint: Its checkpoint.
        data: Folder of the data sets.
    """
    config: Config
    checkpoint: str
    data: Path

    @property
    def own_data(self) -> str:
        """Return the name of the run's own test set."""

    @property
    def queries(self) -> dict:
        """Return the run's own test set."""

    @property
    def gallery(self) -> dict:
        """Return the labelled images of the run's own test."""

    @property
    def network(self) -> dict:
        """Return the config of the network."""

    @property
    def backbone(self) -> nn.Module:
        """Return the network's backbone, without weights."""


class Row(NamedTuple):
    """One row of the suite.

    Attributes:
        key: Name of the row on the command line, and of its folder.
        title: What is measured.
        tool: Path of the tool that runs it, in tools/ and without '.py'.
        prepare: Function that returns the config to run or, for a picture, the
            options of its tool.
        values: Names of the reported figures, by regular expressions that
            match the keys of the metrics.
        layout: Key of the data set in ``LAYOUTS``; None for the data of the
            pretraining run.
        parts: Which saved features it reads, if it reads any.
        long: Whether it takes a day and is run only on request.
    """
    key: str
    title: str
    tool: str
    prepare: Callable[[Run], Config]
    values: dict[str, str] = {}
    layout: str | None = None
    parts: tuple[str, ...] = PARTS
    long: bool = False


def is_imagenet(classes: tuple[str, ...] | None) -> bool:
    """Return whether classes are ImageNet's 1,000, by WordNet ids."""
    return bool(classes) and len(classes) == 1000 and all(
        WORDNET.fullmatch(name) for name in classes)


def put_network(cfg: Config, suite: Run) -> None:
    """Add the network's config of the run if the checkpoint has none."""
    if open_weights(suite.checkpoint).network is None:
        network = frozen(suite.config.model)
        cfg.model.update({
            k: v
            for k, v in network.items() if k not in cfg.model
        })


def benchmark(name: str) -> Callable[[Run], Config]:
    """Return a function that reads a config of ``configs/benchmarks``.

    Its data sets are those in the suite's data folder.
    """

    def prepare(suite: Run) -> Config:
        cfg = read_config(str(CONFIGS / 'benchmarks' / f'{name}.py'))
        put_network(cfg, suite)
        return with_data(cfg, suite.data)

    return prepare


def knn(suite: Run) -> Config:
    """Return the config of k-NN on saved features."""
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'knn_features.py'))
    return _read_features(cfg)


def low_shot(share: float) -> Callable[[Run], Config]:
    """Return a function that reads the config of logistic regression.

    Args:
        share: Fraction of the labels to use.
    """

    def prepare(suite: Run) -> Config:
        cfg = read_config(str(CONFIGS / 'benchmarks' / 'low-shot_features.py'))
        cfg.label_share = share
        return _read_features(cfg)

    return prepare


def _read_features(cfg: Config, name: str = 'features') -> Config:
    """Let loaders read saved features; the suite fills in the file names."""
    cfg.saved = name
    cfg.test_dataloader.dataset.path = 'queries'
    cfg.test_cfg.gallery_dataloader.dataset.path = 'gallery'
    return cfg


def linear_imagenet(suite: Run) -> Config:
    """Return the config of the authors' linear protocol on ImageNet."""
    cfg = read_config(str(CONFIGS / 'benchmarks' / 'linear.py'))
    put_network(cfg, suite)
    cfg.model.checkpoint = suite.checkpoint
    cfg.pop('data_root')  # the data sets of the run have their own
    for phase, own in (('train', suite.gallery), ('val', suite.queries),
                       ('test', suite.queries)):
        loader = cfg[f'{phase}_dataloader']
        loader.dataset = dict(own, pipeline=loader.dataset.pipeline)
    return cfg


def linear(suite: Run) -> Config:
    """Return the config of the linear probe.

    On other data than ImageNet it trains on saved features, without
    augmentation and with the learning rates ``OWN_RATES``.
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


def _use_rows(cfg: Config, suite: Run, saved: str) -> None:
    """Let a linear probe train on saved features, with ``OWN_RATES``.

    Raises:
        MissingData: If the images have no classes.
    """
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


def linear_blocks(suite: Run) -> Config:
    """Return the config of DINOv2's linear evaluation.

    On other data than ImageNet it trains on saved features.
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
    """Return the config of features of the last 1 and 4 blocks.

    If there are fewer than 4 blocks, all are taken instead.

    Raises:
        MissingData: If the network has no blocks with class tokens.
    """
    try:
        require_blocks(backbone)
    except ValueError as error:
        raise MissingData(str(error)) from error
    blocks = sorted({1, min(4, backbone.num_layers)})
    return dict(type='BlocksAndMean', blocks=blocks)


def fine_tune(name: str) -> Callable[[Run], Config]:
    """Return a function that reads a fine-tuning config for a ViT."""

    def prepare(suite: Run) -> Config:
        cfg = read_config(f'transfer/mmpretrain/finetune_{name}')
        backbone = suite.backbone
        if not hasattr(backbone, 'get_layer_depth'):
            raise ValueError('The fine-tuning configs are for a ViT, not for '
                             f'a {type(backbone).__name__}: leave the row '
                             'out.')
        cfg.model.backbone = suite.network['backbone']
        cfg.model.checkpoint = suite.checkpoint
        return with_data(cfg, suite.data)

    return prepare


def own_attention(suite: Run) -> Config:
    """Return the test of attention on the run's own test set."""
    evaluators = suite.config.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    wanted = [e for e in evaluators if e.type == 'AttentionJaccard']
    if not wanted:
        raise MissingData('the test_evaluator of the run has no '
                          'AttentionJaccard, which needs masks')
    cfg = test_only(suite.config, suite.config.test_dataloader)
    cfg.test_cfg.type = 'mmdino.GalleryTestLoop'
    cfg.test_evaluator = wanted
    return cfg


def own_discovery(suite: Run) -> Config:
    """Return the test of object discovery on the run's own test set."""
    cfg = own_attention(suite)
    cfg.model = dict(type='mmdino.ObjectFinder')
    put_network(cfg, suite)
    cfg.test_evaluator = [dict(type='CorLoc'), dict(type='CenterBoxCorLoc')]
    return cfg


def own_dense(suite: Run) -> Config:
    """Return the test of patches on the run's own synthetic images."""
    parts = suite.queries, suite.gallery
    if any(part.type.rpartition('.')[2] != 'ShapeScenes' for part in parts):
        raise MissingData('the test set and the gallery of the run are not '
                          'ShapeScenes, which has classes of pixels')
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


def baselines(suite: Run) -> Config:
    """Return the test of k-NN on raw pixels and an untrained network."""
    if not list_data(suite.gallery).classes:
        raise MissingData(f'{suite.own_data} has no classes.')
    cfg = test_only(suite.config, suite.config.test_dataloader)
    cfg.test_cfg.update(
        type='mmdino.BaselineTestLoop',
        gallery_dataloader=suite.config.test_cfg.gallery_dataloader)
    cfg.test_evaluator = knn(suite).test_evaluator
    return cfg


def picture(**options) -> Callable[[Run], Config]:
    """Return a function that returns the options of a drawing tool."""
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
