"""The paper's evaluations and their configs, for any network and folder.

An evaluation on a benchmark takes data, loop and measure from a config of
``configs/`` and the network from the config of a pretraining run. The others
are measured on that run's own test set against its own gallery.
"""
import copy
import os
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from mmengine.config import Config

from mmdino.datasets.feature_rows import load_features
from mmdino.engine.testing import frozen, loaders
from mmdino.functional.low_shot import balanced_split
from mmdino.registry import DATASETS
from mmdino.utils.resources import resource
from mmdino.weights import open_weights, resolve_network
from mmdino.weights.infer import build_empty

CONFIGS = resource('configs') / 'benchmarks'
FINE_TUNING = resource('configs') / 'transfer' / 'mmpretrain'
# Learning rates of linear classifiers on other data than ImageNet: fewer
# images, thus fewer steps.
OWN_RATES = [.01, .03, .1, .3, 1., 3., 10., 30.]


class Job(NamedTuple):
    """What an evaluation is made from.

    Attributes:
        config: Of the pretraining run.
        checkpoint: Of the network.
        data: Folder of the benchmarks.
        features: Folder with the features of the run's own data.
    """
    config: Config
    checkpoint: str
    data: Path
    features: Path


def benchmark(name: str) -> Callable[[Job], Config]:
    """A config below ``configs/benchmarks`` with the job's data."""

    def prepare(job: Job) -> Config:
        cfg = Config.fromfile(CONFIGS / name)
        put_network(cfg, job)
        return with_data(cfg, job.data)

    return prepare


def knn(job: Job) -> Config:
    """k-NN of the saved features."""
    cfg = Config.fromfile(CONFIGS / 'knn_features.py')
    return _use_features(cfg, job.features)


def low_shot(fraction: float) -> Callable[[Job], Config]:
    """Logistic regression on a share of the saved gallery's labels."""

    def prepare(job: Job) -> Config:
        cfg = Config.fromfile(CONFIGS / 'low-shot_features.py')
        _use_features(cfg, job.features)
        gallery = cfg.test_cfg.gallery_dataloader.dataset
        labels = load_features(gallery.path).labels
        if labels is None:
            raise ValueError(f'{gallery.path} has no labels.')
        gallery.indices = balanced_split(labels.tolist(), fraction, seed=0)
        return cfg

    return prepare


def linear(job: Job) -> Config:
    """The linear probe, on ImageNet with the authors' augmentation.

    On other data it sees the pictures as k-NN does, and has OWN_RATES.
    """
    cfg = Config.fromfile(CONFIGS / 'linear.py')
    put_network(cfg, job)
    cfg.model.checkpoint = job.checkpoint
    cfg = with_data(cfg, job.data)
    queries = job.config.test_dataloader.dataset
    if queries.get('data_root') != cfg.val_dataloader.dataset.data_root:
        gallery = job.config.test_cfg.gallery_dataloader.dataset
        cfg.train_dataloader.dataset = gallery
        cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = queries
        cfg.model.num_classes = len(
            DATASETS.build(gallery).metainfo['classes'])
        cfg.model.learning_rates = OWN_RATES
        cfg.train_cfg.update(val_interval=10)
    return cfg


def fine_tune(name: str) -> Callable[[Job], Config]:
    """A fine-tuning config with the job's ViT."""

    def prepare(job: Job) -> Config:
        cfg = Config.fromfile(FINE_TUNING / f'finetune_{name}.py')
        network = resolve_network(
            open_weights(job.checkpoint, given=job.config.model),
            job.config.model)
        backbone = build_empty(network['backbone'])
        if not hasattr(backbone, 'last_blocks'):
            raise ValueError('the fine-tuning configs are for a ViT, not for '
                             f'a {type(backbone).__name__}')
        cfg.model.backbone = network['backbone']
        cfg.model.checkpoint = job.checkpoint
        return with_data(cfg, job.data)

    return prepare


def own_attention(job: Job) -> Config:
    """Attention against the masks of the run's own test set."""
    cfg = copy.deepcopy(job.config)
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    wanted = [e for e in evaluators if e.type == 'AttentionJaccard']
    if not wanted:
        raise ValueError('the config tests no AttentionJaccard: its data have '
                         'no masks')
    cfg.test_evaluator = wanted
    cfg.test_cfg = dict(type='mmengine.TestLoop')
    return cfg


def put_network(cfg: Config, job: Job) -> None:
    """Name the network where the checkpoint, a foreign one, does not."""
    if open_weights(job.checkpoint).network is None:
        network = frozen(job.config.model)
        cfg.model.update({
            k: v
            for k, v in network.items() if k not in cfg.model
        })


def with_data(cfg: Config, folder: Path) -> Config:
    """``cfg`` with every path below ``data/`` moved below ``folder``."""
    moved = _move(cfg.to_dict(), f'{folder.absolute()}/')
    return Config(moved, filename=cfg.filename)


def cap_workers(cfg: Config) -> None:
    """Let no loader have more workers than there are cores."""
    for loader in loaders(cfg):
        loader['num_workers'] = min(
            loader.get('num_workers', 0), os.cpu_count())


def missing_data(cfg: Config) -> Optional[str]:
    """What keeps the data sets of a config from being read, if anything.

    Every data set is built and lists its files, which is when it names the
    first one that is missing; no image is opened.
    """
    for loader in loaders(cfg):
        try:
            DATASETS.build(loader['dataset'])
        except (OSError, ValueError, RuntimeError) as error:
            return str(error)
    return None


def _use_features(cfg: Config, folder: Path) -> Config:
    cfg.test_dataloader.dataset.path = str(folder / 'queries.npz')
    cfg.test_cfg.gallery_dataloader.dataset.path = str(folder / 'gallery.npz')
    return cfg


def _move(node: Any, folder: str) -> Any:
    if isinstance(node, dict):
        return {key: _move(value, folder) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_move(value, folder) for value in node)
    if isinstance(node, str) and node.startswith('data/'):
        return folder + node.removeprefix('data/')
    return node


class Evaluation(NamedTuple):
    """A line of the suite.

    Attributes:
        key: Its name on the command line and that of its folder.
        title: What is measured.
        tool: Which script of tools/ runs it, 'test' or 'train'.
        prepare: Makes the config to run.
        values: Names of the figures by the metrics' keys.
        layout: Its data, a key of ``LAYOUTS`` in
            :mod:`mmdino.datasets.benchmarks.layouts`; None for the run's own.
        saved: Whether it reads saved features, in one process.
        long: Whether it takes a day and is run only when asked for.
    """
    key: str
    title: str
    tool: str
    prepare: Callable[[Job], Config]
    values: Dict[str, str]
    layout: Optional[str] = None
    saved: bool = False
    long: bool = False


RETRIEVAL = {
    'retrieval/medium_map': 'mAP, Medium',
    'retrieval/medium_mp10': 'mP@10, Medium',
    'retrieval/hard_map': 'mAP, Hard',
    'retrieval/hard_mp10': 'mP@10, Hard'
}
KNN = {f'knn/k{k}_top1': f'{k}-NN top-1, %' for k in (10, 20, 100, 200)}
LOW_SHOT = {
    f'low_shot/c{c}_top1': f'top-1, C = {c}, %'
    for c in (10, 100, 1000, 10000)
}
LINEAR = {
    'linear/best_top1': 'top-1, %',
    'linear/best_lr': 'learning rate of 256 images'
}
FINE_TUNED = {'accuracy/top1': 'top-1, %'}
JACCARD = {'attention/jaccard': 'Jaccard index'}

EVALUATIONS: Tuple[Evaluation, ...] = (
    Evaluation('knn', 'k-NN', 'test', knn, KNN, saved=True),
    Evaluation('linear', 'linear classifier', 'train', linear, LINEAR),
    Evaluation(
        'low-shot-1',
        '1% of the labels',
        'test',
        low_shot(.01),
        LOW_SHOT,
        saved=True),
    Evaluation(
        'low-shot-10',
        '10% of the labels',
        'test',
        low_shot(.1),
        LOW_SHOT,
        saved=True),
    Evaluation('attention', 'attention of the best head', 'test',
               own_attention, JACCARD),
    Evaluation('voc12', 'attention of the best head', 'test',
               benchmark('attention-voc12.py'), JACCARD, 'voc2012'),
    Evaluation('roxford', 'retrieval', 'test',
               benchmark('retrieval-roxford.py'), RETRIEVAL, 'roxford5k'),
    Evaluation('rparis', 'retrieval', 'test', benchmark('retrieval-rparis.py'),
               RETRIEVAL, 'rparis6k'),
    Evaluation('copydays', 'copy detection', 'test', benchmark('copydays.py'),
               {'copydays/map': 'mAP'}, 'copydays'),
    Evaluation(
        'davis', 'video segmentation', 'test', benchmark('davis.py'), {
            'davis/jf_mean': 'J&F mean',
            'davis/j_mean': 'J mean',
            'davis/j_recall': 'J recall',
            'davis/j_decay': 'J decay',
            'davis/f_mean': 'F mean',
            'davis/f_recall': 'F recall',
            'davis/f_decay': 'F decay'
        }, 'davis2017'),
    *(Evaluation(
        f'fine-tune-{name}',
        'fine-tuning',
        'train',
        fine_tune(name),
        FINE_TUNED,
        name,
        long=True) for name in ('cifar10', 'cifar100', 'flowers102', 'cars',
                                'inat18', 'inat19', 'imagenet')),
)
