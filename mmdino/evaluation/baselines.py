"""Baselines: what raw pixels and the untrained network reach.

A k-NN accuracy of 29 % says little until one knows that raw pixels reach 44 %
on the same images. The two baselines are measured once for each combination of
data, network and metrics, and cached in ``~/.cache/mmdino/baselines``, or
below ``XDG_CACHE_HOME``.
"""
import copy
import glob
import hashlib
import json
import os
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, autocast
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader, Dataset, Subset

from mmdino.datasets.listing import ZIP_PREFIX, ZIP_SEPARATOR
from mmdino.engine.longrun.workers import fork_again_if_stuck
from mmdino.models.frozen import FrozenTeacher, PixelFeatures
from mmdino.utils.progress import track
from mmdino.utils.randomness import seeded
from mmdino.utils.resources import cache_folder
from mmdino.weights import describe_network
from mmdino.weights.config import STARTS, preprocessor_cfg
from mmdino.weights.io import replaced

PIXELS, UNTRAINED = 'pixels', 'untrained'
TITLES = {PIXELS: 'raw pixels', UNTRAINED: 'the untrained network'}
SIZE = 32  # height and width in pixels to which raw pixels are pooled
SEED = 0  # of the untrained network's weights
VERSION = 1  # of the cache files; raise it if the measures change
Figures = dict[str, dict[str, float]]  # results by baseline, then by metric


def measure_baselines(loop: Any) -> Figures:
    """Measure both baselines on the gallery and queries of a loop, and log
    them.

    They are read from the cache if an earlier run has measured them with the
    same data, network and metrics.

    Args:
        loop: A :class:`.GalleryValLoop` or :class:`.GalleryTestLoop`.

    Returns:
        The results. Empty if no metric lists ``baselines``, the model has no
        network config, or the loop has ``baseline_images=0``.
    """
    names = [name for name in TITLES if measurable(loop, name)]
    network = network_of(loop.runner)
    if not names or network is None or loop.baseline_images == 0:
        return {}
    loader = baseline_gallery(loop)
    path = [kept_at(loop, network, loader) if is_main_process() else None]
    broadcast_object_list(path)
    said = loop.runner.message_hub.runtime_info.get('baselines')
    if said and said['kept_at'] == path[0]:  # logged before, if resumed
        return said['figures']
    found = [read_kept(path[0]) if path[0] and is_main_process() else None]
    broadcast_object_list(found)
    figures = found[0] or _measure(loop, network, loader, names)
    if path[0] and not found[0] and is_main_process():
        keep(figures, path[0])
    loop.runner.message_hub.update_info('baselines',
                                        dict(figures=figures, kept_at=path[0]))
    print_log(
        f'Baselines on the same {len(loop.dataloader.dataset)} queries'
        f'{_share(loop, loader)}: {as_text(figures)}.',
        logger='current')
    return figures


def _share(loop: Any, loader: DataLoader | None) -> str:
    """Describe how many gallery images were used, '' if all."""
    if loader is loop.gallery_dataloader:
        return ''
    return (f' and {len(loader.dataset)} of the '
            f'{len(loop.gallery_dataloader.dataset)} gallery images')


def network_of(runner: Runner) -> dict | None:
    """Return the network config of a runner's model, None if it has none."""
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    return getattr(model, 'network_cfg', None) or describe_network(runner.cfg)


def baseline_gallery(loop: Any) -> DataLoader | None:
    """Return the gallery's loader, or one of ``loop.baseline_images`` images.

    None if the loop has no gallery.
    """
    config, most = loop.configs[0], loop.baseline_images
    if loop.gallery_dataloader is None:
        return None
    dataset = loop.gallery_dataloader.dataset
    whole = most is None or len(dataset) <= most
    if whole or not isinstance(config, dict):
        return loop.gallery_dataloader
    places = torch.linspace(0, len(dataset) - 1, most).long().tolist()
    config = dict(
        config, dataset=Subset(dataset, places), persistent_workers=False)
    loader = loop.runner.build_dataloader(config, seed=loop.runner.seed)
    fork_again_if_stuck(loader)
    return loader


@torch.no_grad()
def _measure(loop: Any, network: dict, loader: DataLoader | None,
             names: Sequence[str]) -> Figures:
    models = Baselines(
        network,
        _features(loop),
        attention=any('attention' in getattr(metric, 'needs', ())
                      for metric in loop.evaluator.metrics),
        device=next(loop.runner.model.parameters()).device)
    metrics = [(name, metric) for name in names
               for metric in measurable(loop, name)]
    if loader is not None:
        gallery = loop.embed(loader, models.embed, 'Gallery of the baselines')
        for name, metric in metrics:
            if hasattr(metric, 'set_gallery'):
                rows = gallery.features[:, models.columns(name)]
                metric.set_gallery(gallery._replace(features=rows))
    for batch in track(loop.dataloader, 'Queries of the baselines'):
        with autocast(enabled=loop.fp16):
            samples = [sample.to_dict() for sample in models.embed(batch)]
        for name, metric in metrics:
            metric.process(batch, [
                dict(sample, feature=sample['feature'][models.columns(name)])
                for sample in samples
            ])
        loop.runner.call_hook('after_gallery_iter')
    figures: Figures = {name: {} for name in names}
    for name, metric in metrics:
        figures[name].update(metric.evaluate(len(loop.dataloader.dataset)))
    return figures


def measurable(loop: Any, name: str) -> list[Any]:
    """Return fresh copies of the metrics that can measure a baseline."""
    return [
        copy.deepcopy(metric) for metric in loop.evaluator.metrics
        if name in getattr(metric, 'baselines', ())
    ]


def _features(loop: Any) -> dict | None:
    """Return ``model.features``: how an image becomes one vector."""
    return (loop.runner.cfg.get('model') or {}).get('features')


class Baselines:
    """Raw pixels and the untrained network, on the same batches.

    Args:
        network: Network config, see :mod:`mmdino.weights.config`.
        features: Config of how an image becomes one vector, as of
            :class:`FrozenTeacher`.
        attention: Whether the untrained network also gives its attention.
        device: Device of the models.
    """

    def __init__(self, network: dict, features: dict | None, attention: bool,
                 device: torch.device) -> None:
        preprocessor = preprocessor_cfg(network)
        with seeded(SEED):
            untrained = FrozenTeacher(
                backbone=without_start(network['backbone']),
                neck=network.get('neck'),
                data_preprocessor=preprocessor,
                features=features,
                predict_attention=attention)
            untrained.init_weights()
        pixels = PixelFeatures(SIZE, preprocessor)
        self.models = {
            PIXELS: pixels.to(device),
            UNTRAINED: untrained.to(device)
        }
        self.widths: dict[str, int] = {}

    def embed(self, batch: dict) -> list[DataSample]:
        """Return a batch's samples with the concatenated features of all
        models."""
        parts = {}
        for name, model in self.models.items():
            samples = model.test_step(batch)
            parts[name] = torch.stack([s.feature for s in samples]).float()
            self.widths[name] = parts[name].shape[1]
        for sample, row in zip(samples, torch.cat([*parts.values()], dim=1)):
            sample.set_field(row, 'feature', dtype=torch.Tensor)
        return samples

    def columns(self, name: str) -> slice:
        """Return the slice of a model's features in the concatenated ones."""
        names = [*self.models]
        start = sum(self.widths[other] for other in names[:names.index(name)])
        return slice(start, start + self.widths[name])


def without_start(node: Any) -> Any:
    """Return a config without the settings that load pretrained weights."""
    if isinstance(node, dict):
        return {
            key: without_start(value)
            for key, value in node.items() if key not in STARTS
        }
    if isinstance(node, (list, tuple)):
        return [without_start(child) for child in node]
    return node


def data_key(dataset: Dataset, config: Any) -> str | None:
    """Hash a data set: its config, items, and files' sizes and times.

    Args:
        dataset: The data set.
        config: Config of its data loader.

    Returns:
        The hash, or None if it cannot identify the data: if the config
        contains objects, or the data set belongs to another library and does
        not list its items.
    """
    try:
        text = json.dumps(config['dataset'], sort_keys=True)
    except TypeError:  # the config contains objects
        return None
    found = hashlib.sha256(text.encode())
    places = range(len(dataset))
    if isinstance(dataset, Subset):
        dataset, places = dataset.dataset, dataset.indices
    is_stamped = False
    if isinstance(dataset, BaseDataset):
        for index in places:
            item = BaseDataset.get_data_info(dataset, index)
            stamp = _stamp(item.get('img_path'))
            is_stamped |= bool(stamp)
            found.update(json.dumps(item, default=str).encode() + stamp)
    elif not type(dataset).__module__.startswith('mmdino.'):
        return None
    for root in () if is_stamped else _roots(config['dataset']):
        found.update(root.encode() + _stamp(root))
    return f'{len(places)} {found.hexdigest()}'


def _roots(node: Any) -> Iterator[str]:
    """Iterate over the files below every ``data_root`` of a config.

    They identify data sets whose items name no files.
    """
    if isinstance(node, (list, tuple)):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, value in node.items():
            roots = value if isinstance(value, (list, tuple)) else [value]
            for root in roots if key == 'data_root' else ():
                root = osp.expanduser(str(root))
                inside = osp.join(glob.escape(root), '*')
                yield from sorted(glob.glob(inside) or glob.glob(root))
            yield from _roots(value)


def _stamp(path: Any) -> bytes:
    """Return size and modification time of a file, or of its archive."""
    if not isinstance(path, (str, os.PathLike)):
        return b''
    path = os.fspath(path).removeprefix(ZIP_PREFIX)
    try:
        stat = os.stat(path.partition(ZIP_SEPARATOR)[0])
    except (OSError, ValueError):
        return b''
    return b'%d %d' % (stat.st_size, stat.st_mtime_ns)


def kept_at(loop: Any, network: dict, loader: DataLoader | None) -> str | None:
    """Return the cache file of the baselines of these data, network and
    metrics.

    Returns:
        The path, or None if the data cannot be identified, see
        :func:`data_key`.
    """
    data = [
        data_key(one.dataset, config)
        for one, config in zip((loader, loop.dataloader), loop.configs)
        if one is not None
    ]
    if None in data:
        return None
    text = json.dumps([
        VERSION, torch.__version__, network,
        _features(loop), data, [*map(settings_of, loop.evaluator.metrics)]
    ],
                      default=str)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    return osp.join(cache_folder('baselines'), f'{name}.json')


def read_kept(path: str) -> Figures | None:
    """Read a cache file; return None if it is missing or damaged."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def keep(figures: Figures, path: str) -> None:
    """Write a cache file; if that fails, log the reason and go on."""
    try:
        os.makedirs(osp.dirname(path), exist_ok=True)
        with replaced(path) as part, open(part, 'w') as file:
            json.dump(figures, file)
    except OSError as error:
        print_log(
            f'The baselines cannot be cached and will be measured again in '
            f'the next run: {error}. Set XDG_CACHE_HOME to a folder that can '
            'be written.',
            logger='current')


def settings_of(metric: Any) -> dict:
    """Return the arguments that a metric was built with."""
    settings = {
        key: value
        for key, value in sorted(vars(metric).items())
        if not key.startswith('_') and key not in ('results', 'gallery')
    }
    return dict(settings, type=type(metric).__name__)


def as_metrics(figures: Figures) -> dict[str, float]:
    """Return metrics such as ``knn/k20_top1_pixels``, for tables."""
    return {
        f'{key}_{name}': value
        for name, values in figures.items()
        for key, value in values.items()
    }


def as_text(figures: Figures) -> str:
    """Describe the main figures in a sentence."""
    return '; '.join(
        f'{key} ' +
        ', '.join(f'{TITLES[name]} {number(key, values[key])}'
                  for name, values in figures.items() if key in values)
        for key in main_keys(figures))


def main_keys(figures: Figures) -> list[str]:
    """Choose top-1, mAP and Jaccard index; of k-NN that with k = 20, if any.
    """
    keys = dict.fromkeys(key for values in figures.values() for key in values)
    tops = [key for key in keys if key.startswith('knn/k')]
    chosen = [key for key in tops if key == 'knn/k20_top1'] or tops[:1]
    others = [key for key in keys if key.endswith(('_map', 'jaccard'))]
    return chosen + others


def number(key: str, value: float) -> str:
    """Format percents with one digit and fractions with three."""
    return f'{value:.3f}' if key.endswith('jaccard') else f'{value:.1f}'


def below(figures: Figures, metrics: dict[str, float]) -> str | None:
    """Describe that the network is below a baseline; None if it is not.

    They are compared by the first of :func:`main_keys`.
    """
    key = next((k for k in main_keys(figures) if k in metrics), None)
    if key is None:
        return None
    better = [
        f'{TITLES[name]} with {number(key, values[key])}'
        for name, values in figures.items()
        if values.get(key, -1.) > metrics[key]
    ]
    if not better:
        return None
    return (f'{key} is {number(key, metrics[key])}, below '
            f'{" and ".join(better)} on the same queries: so far the network '
            'has not learnt what tells these images apart. Usual causes are '
            'too few images or epochs, a learning rate that does not fit the '
            'batch size, and crops that do not show the object.')
