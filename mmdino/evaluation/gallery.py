"""Evaluation loops that embed a gallery of images for the metrics.

Letters: G images of the gallery, D features.
"""
import logging
from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop, autocast
from torch.utils.data import DataLoader

from mmdino.engine.hooks.classes import check_classes
from mmdino.evaluation.base import Gallery, say_left_out
from mmdino.evaluation.baselines import (Figures, as_metrics, below,
                                         measure_baselines)
from mmdino.evaluation.placing import file_key, gather_names, place_samples
from mmdino.registry import LOOPS
from mmdino.utils.progress import track
from mmdino.utils.randomness import seeded


class _GalleryMixin:
    """Loop mixin that embeds a gallery for the metrics before the queries.

    Every metric with a method ``set_gallery(gallery)`` gets this rank's share
    of the gallery, a :class:`Gallery`. It is embedded in the first iteration,
    after hooks such as MMEngine's EMAHook have swapped the weights for the
    evaluation.

    Unreadable images are left out, both of the gallery and of the queries, and
    listed in a warning. Another warning says how many queries are in the
    gallery as well: their nearest neighbour is the image itself.

    The first evaluation also measures raw pixels and the untrained network on
    the same queries, see :mod:`mmdino.evaluation.baselines`.

    Args:
        runner: The runner.
        dataloader: The queries.
        evaluator: The metrics.
        gallery_dataloader: The gallery: a DataLoader or its config, with a
            sampler that gives the samples in turn to the ranks
            (DefaultSampler, ``shuffle=False``). None if no metric needs a
            gallery.
        fp16: Whether to compute features with autocast.
        baseline_images: Number of gallery images, evenly spread, with which
            the baselines are measured; None uses all, 0 measures no baselines.
    """
    step: str

    def __init__(self,
                 runner,
                 dataloader: DataLoader | dict,
                 evaluator: Evaluator | dict | list,
                 gallery_dataloader: DataLoader | dict | None = None,
                 fp16: bool = False,
                 baseline_images: int | None = 50000) -> None:
        self.configs = gallery_dataloader, dataloader
        super().__init__(runner, dataloader, evaluator, fp16)
        self.gallery_dataloader = None
        if gallery_dataloader is not None:
            self.gallery_dataloader = runner.build_dataloader(
                gallery_dataloader, seed=runner.seed)
            check_classes('the queries and the gallery',
                          self.dataloader.dataset,
                          self.gallery_dataloader.dataset)
        self.baseline_images = baseline_images
        self.baselines: Figures | None = None

    def run(self) -> dict:
        """Evaluate, and warn of queries that are in the gallery."""
        if self.baselines is None:
            with seeded(0):  # leaves the random state of the run unchanged
                self.baselines = measure_baselines(self)
        self._in_gallery = torch.zeros(2, dtype=torch.int64)
        metrics = super().run()
        self._say_in_gallery()
        return metrics

    def _say_in_gallery(self) -> None:
        all_reduce(self._in_gallery)
        same, count = self._in_gallery.tolist()
        if same:
            print_log(
                f'{same} of {count} queries are also in the gallery, as the '
                'same files. Their nearest neighbour is the image itself, so '
                'that their accuracy is high for any network. Use other '
                'images as queries, or leave each query out of its own '
                "neighbours: dict(type='KNNAccuracy', leave_out_self=True).",
                logger='current',
                level=logging.WARNING)

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Embed the gallery before the first batch, if a metric needs one.

        Raises:
            ValueError: If a metric needs a gallery and there is none.
        """
        metrics = [
            metric for metric in self.evaluator.metrics
            if hasattr(metric, 'set_gallery')
        ]
        if metrics and self.gallery_dataloader is None:
            raise ValueError(
                f'{type(metrics[0]).__name__} compares with a gallery, but '
                f'{type(self).__name__} has none: set gallery_dataloader.')
        if idx == 0 and metrics:
            gallery = self.embed_gallery()
            files = gallery.all_files()
            self._files = set() if files is None else set(
                files.tolist()) - {-1}
            for metric in metrics:
                metric.set_gallery(gallery)
        super().run_iter(idx, data_batch)
        if metrics:
            samples = data_batch.get('data_samples') or ()
            keys = [file_key(sample.get('img_path')) for sample in samples]
            same = sum(key in self._files for key in keys)
            self._in_gallery += torch.tensor([same, len(keys)])

    def embed_gallery(self) -> Gallery:
        """Compute features and labels of this rank's share of the gallery."""
        self.runner.model.eval()
        return self.embed(self.gallery_dataloader,
                          getattr(self.runner.model, self.step))

    @torch.no_grad()
    def embed(self,
              loader: DataLoader,
              embed: Callable,
              name: str = 'Gallery') -> Gallery:
        """Compute features and labels of this rank's images of a loader.

        Args:
            loader: A loader with a sampler like that of the gallery.
            embed: Turns a batch into its data samples with ``feature`` (D,).
            name: What the progress lines start with.

        Raises:
            KeyError: If the samples have no ``feature``.
            ValueError: If there is no batch, or no image can be read.
        """
        features, labels, files, told, left_out = [], [], [], [], []
        for data_batch in track(loader, name):
            with autocast(enabled=self.fp16):
                samples = embed(data_batch)
            if any('feature' not in sample for sample in samples):
                raise KeyError(
                    'The samples that the model returned have no `feature`: a '
                    'gallery needs a model whose predict mode adds one, such '
                    'as DINO or FrozenTeacher.')
            rows = torch.stack([sample.feature for sample in samples])
            features.append(rows.float().cpu())
            labels += [
                int(sample.gt_label) if 'gt_label' in sample else None
                for sample in samples
            ]
            files += [file_key(sample.get('img_path')) for sample in samples]
            told += [sample.get('sample_idx') for sample in samples]
            left_out += [sample.get('unreadable') for sample in samples]
            self.runner.call_hook('after_gallery_iter')
        if not features:
            raise ValueError('gallery_dataloader gave no batch: its data set '
                             'is empty, or smaller than one batch and '
                             'drop_last is set.')
        placing = place_samples(told, [not name for name in left_out],
                                len(loader.dataset))
        left_out = gather_names([name for name in left_out if name])
        if not placing.size:
            raise ValueError('None of the gallery\'s images can be read; the '
                             f'first is {left_out[0]}.')
        say_left_out('gallery images', left_out)
        labels = None if None in labels else torch.tensor(labels)
        return Gallery.placed(
            torch.cat(features), labels, torch.tensor(files), placing,
            left_out)


@LOOPS.register_module()
class GalleryValLoop(_GalleryMixin, ValLoop):
    """ValLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`.

    In the first validation after a third of the training, a warning says if
    the network is below a baseline.
    """
    step = 'val_step'

    def run(self) -> dict:
        """Validate, and compare with the baselines."""
        metrics = super().run()
        runner, known = self.runner, self.runner.message_hub.runtime_info
        is_due = 3 * runner.iter >= runner.max_iters > 0
        if is_due and 'below_baseline' not in known:
            verdict = below(self.baselines, metrics)
            runner.message_hub.update_info('below_baseline', bool(verdict))
            if verdict:
                runner.logger.warning(
                    f'After {runner.iter} of {runner.max_iters} steps '
                    f'{verdict}')
        return metrics


@LOOPS.register_module()
class GalleryTestLoop(_GalleryMixin, TestLoop):
    """TestLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`.

    The results also contain those of the baselines, such as
    ``knn/k20_top1_pixels`` and ``knn/k20_top1_untrained``.
    """
    step = 'test_step'

    def run(self) -> dict:
        """Measure the baselines, then the network."""
        metrics = super().run()
        return {**metrics, **as_metrics(self.baselines)}


@LOOPS.register_module()
class BaselineTestLoop(GalleryTestLoop):
    """Measure the baselines only, with the names of :class:`GalleryTestLoop`.
    """

    def run(self) -> dict:
        """Measure raw pixels and the untrained network."""
        self.runner.call_hook('before_test')
        with seeded(0):
            self.baselines = measure_baselines(self)
        self.runner.call_hook('after_test')
        return as_metrics(self.baselines)
