"""J and F of DAVIS 2017, semi-supervised (arXiv 1704.00675)."""
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdino.evaluation.functional import (FrameStatistics, frame_statistics,
                                          score_sequence)
from mmdino.registry import METRICS


class ObjectScores(NamedTuple):
    """Both measures of an object, fractions."""
    region: FrameStatistics
    contour: FrameStatistics


@METRICS.register_module()
class DAVISMetric(BaseMetric):
    """Mean, recall and decay of J and F over all objects, in percent.

    The keys are ``davis/jf_mean``, the mean of the next and of
    ``davis/f_mean``, and ``davis/{j,f}_{mean,recall,decay}``. Samples need
    ``gt_masks`` and ``pred_masks`` (F, H, W) and ``sequence``.

    After an evaluation ``objects`` holds, on the main process, the scores of
    each object as SEQUENCE_NUMBER, the number from 1.

    Args:
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'davis'

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.objects: Dict[str, ObjectScores] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score the objects of each sequence."""
        for sample in data_samples:
            for key, cause in (
                ('pred_masks', 'use the model VideoSegmentationDINO'),
                ('gt_masks', 'the data set must give masks and PackInputs '
                 "must pack them (algorithm_keys=('first_mask', "
                 "'gt_masks'))")):
                if sample.get(key) is None:
                    raise KeyError(
                        f'DAVISMetric found no `{key}` in the sample of '
                        f'{sample.get("sequence", "a sequence")}: {cause}.')
            region, contour = score_sequence(
                np.asarray(sample['pred_masks']),
                np.asarray(sample['gt_masks']))
            self.results.append((sample['sequence'], region, contour))

    def compute_metrics(
            self, results: List[Tuple[str, np.ndarray,
                                      np.ndarray]]) -> Dict[str, float]:
        """Means over all objects of all sequences, in percent."""
        if not results:
            raise ValueError('DAVISMetric got no sequence: is the data set '
                             'empty?')
        self.objects = {
            f'{sequence}_{number}':
            ObjectScores(frame_statistics(j), frame_statistics(f))
            for sequence, region, contour in results
            for number, (j, f) in enumerate(zip(region, contour), 1)
        }
        return {k: 100 * v for k, v in overall(self.objects).items()}


def overall(objects: Dict[str, ObjectScores]) -> Dict[str, float]:
    """Means over the objects, fractions, by ``jf_mean``, ``j_mean``, ..."""
    means = np.mean([scores for scores in objects.values()], axis=0)
    scores = {
        f'{letter}_{name}': float(value)
        for letter, row in zip('jf', means)
        for name, value in zip(FrameStatistics._fields, row)
    }
    return dict(jf_mean=(scores['j_mean'] + scores['f_mean']) / 2, **scores)
