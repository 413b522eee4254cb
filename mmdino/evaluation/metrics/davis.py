"""DAVIS 2017, semi-supervised (arXiv 1704.00675): scores, masks, tables."""
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from PIL import Image

from mmdino.evaluation.base import SampleMetric
from mmdino.functional.davis import (FrameStatistics, frame_statistics,
                                     score_sequence)
from mmdino.registry import HOOKS, METRICS


class ObjectScores(NamedTuple):
    """Region similarity J and contour accuracy F of an object, fractions."""
    region: FrameStatistics
    contour: FrameStatistics


@METRICS.register_module()
class DAVISMetric(SampleMetric):
    """Mean, recall and decay of J and F over all objects, in percent.

    The keys are ``davis/{j,f}_{mean,recall,decay}`` and ``davis/jf_mean``, the
    mean of ``davis/j_mean`` and ``davis/f_mean``. Samples need ``gt_masks``
    and ``pred_masks``, both (frames, H, W), and ``sequence``, the name.

    Args:
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Attributes:
        objects (dict[str, ObjectScores]): After an evaluation, on the main
            process, the scores of each object by the name of its sequence,
            ``_`` and its number, from 1.
    """
    default_prefix = 'davis'
    unit = 'sequence'
    needs = dict(
        pred_masks='use the model VideoSegmenter',
        gt_masks='the data set must give masks and PackInputs must pack them '
        "(algorithm_keys=('first_mask', 'gt_masks'))")

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.objects: dict[str, ObjectScores] = {}

    def keep(self, sample: dict) -> tuple[str, np.ndarray, np.ndarray]:
        """Compute J and F (O, F - 2) of the objects in a sequence."""
        region, contour = score_sequence(
            np.asarray(sample['pred_masks']), np.asarray(sample['gt_masks']))
        return sample['sequence'], region, contour

    def compute_metrics(
            self, results: list[tuple[str, np.ndarray,
                                      np.ndarray]]) -> dict[str, float]:
        """Average over all objects of all sequences, in percent."""
        self.objects = {
            f'{sequence}_{number}':
            ObjectScores(frame_statistics(j), frame_statistics(f))
            for sequence, region, contour in results
            for number, (j, f) in enumerate(zip(region, contour), 1)
        }
        return {k: 100 * v for k, v in overall(self.objects).items()}


def overall(objects: dict[str, ObjectScores]) -> dict[str, float]:
    """Average over the objects.

    Returns:
        Fractions by ``jf_mean``, ``j_mean``, ``j_recall``, ``j_decay``,
        ``f_mean``, ``f_recall`` and ``f_decay``.
    """
    means = np.mean(list(objects.values()), axis=0)
    scores = {
        f'{letter}_{name}': float(value)
        for letter, row in zip('jf', means)
        for name, value in zip(FrameStatistics._fields, row)
    }
    return dict(jf_mean=(scores['j_mean'] + scores['f_mean']) / 2, **scores)


# The colours of the benchmark's annotations: those of PASCAL VOC, with 191
# for 192, then greys.
COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128),
          (128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0),
          (191, 0, 0), (64, 128, 0), (191, 128, 0), (64, 0, 128),
          (191, 0, 128), (64, 128, 128), (191, 128, 128), (0, 64, 0),
          (128, 64, 0), (0, 191, 0), (128, 191, 0), (0, 64, 128),
          (128, 64, 128), *((i, i, i) for i in range(22, 256)))


def save_masks(folder: Path, names: Sequence[str],
               masks: Iterable[np.ndarray]) -> None:
    """Write a palette PNG for each frame of a sequence.

    Args:
        folder: Folder of the sequence; created if it is missing.
        names: File names of the frames, without extension.
        masks: Masks of the frames, each (H, W), uint8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in zip(names, masks):
        image = Image.fromarray(mask)
        image.putpalette(np.array(COLORS, np.uint8).tobytes())
        image.save(folder / f'{name}.png')


def save_tables(folder: Path, split: str, objects: dict[str,
                                                        ObjectScores]) -> None:
    """Write the benchmark's two tables, as fractions.

    ``global_results-SPLIT.csv`` has the means over all objects,
    ``per-sequence_results-SPLIT.csv`` one row for each object.

    Args:
        folder: Folder of the tables; created if it is missing.
        split: SPLIT in the file names.
        objects: As of :class:`DAVISMetric`.
    """
    names = ('J&F-Mean', 'J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall',
             'F-Decay')
    means = [f'{value:.3f}' for value in overall(objects).values()]
    rows = [[name, f'{scores.region.mean:.3f}', f'{scores.contour.mean:.3f}']
            for name, scores in objects.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (('global', [names, means]), ('per-sequence', [
        ('Sequence', 'J-Mean', 'F-Mean'), *rows
    ])):
        with open(
                folder / f'{name}_results-{split}.csv', 'w',
                newline='') as file:
            csv.writer(file, lineterminator='\n').writerows(table)


@HOOKS.register_module()
class DAVISResultsHook(Hook):
    """Write the predicted masks and the tables below the work dir.

    The masks are ``OUT_DIR/masks/SEQUENCE/00000.png`` and so on;
    ``OUT_DIR/masks`` is the folder to give to the benchmark's own scorer. The
    tables of :class:`DAVISMetric` are ``OUT_DIR/global_results-SPLIT.csv`` and
    ``OUT_DIR/per-sequence_results-SPLIT.csv``. They are in another folder than
    the masks, because the scorer would print tables that it finds there
    instead of scoring the masks.

    Args:
        out_dir: OUT_DIR, relative to the work dir.
    """

    def __init__(self, out_dir: str = 'davis') -> None:
        self.out_dir = out_dir

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[DataSample]) -> None:
        """Write the masks of each sequence."""
        for sample in outputs:
            save_masks(
                Path(runner.work_dir, self.out_dir, 'masks', sample.sequence),
                sample.frame_names, sample.pred_masks.numpy())

    @master_only
    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Write the tables."""
        folder = Path(runner.work_dir, self.out_dir)
        for metric in runner.test_loop.evaluator.metrics:
            if isinstance(metric, DAVISMetric):
                save_tables(folder, metric.dataset_meta['split'],
                            metric.objects)
        runner.logger.info(f'Masks and tables of DAVIS are in {folder}')
