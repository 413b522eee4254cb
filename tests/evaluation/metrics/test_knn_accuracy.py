from functools import partial

import pytest
import torch

from mmdino.evaluation import KNNAccuracy
from mmdino.registry import METRICS
from tests.evaluation.metrics.dealing import (gallery_of_rank, samples,
                                              score_alike)


def gallery(size):
    """An image on each axis, of a class of its own."""
    return gallery_of_rank(torch.eye(size), torch.arange(size), size)


def test_accuracy_by_hand():
    """Three queries on their classes' axes, the fourth one labelled wrong."""
    metric = METRICS.build(dict(type='mmdino.KNNAccuracy', k=(1, 3)))
    metric.set_gallery(gallery(6))
    metric.process(None, samples(torch.eye(6)[:2], [0, 1]))
    metric.process(None, samples(torch.eye(6)[2:4], [2, 0]))
    result = metric.evaluate(4)
    assert result == {
        'knn/k1_top1': 75.,
        'knn/k1_top5': 75.,
        'knn/k3_top1': 75.,
        # The three neighbours of (0, 0, 0, 1, 0, 0) are 3, then 0 and 1.
        'knn/k3_top5': 100.,
    }
    assert metric.gallery is None


def test_top5_is_left_out_for_few_classes_and_k_is_cut():
    metric = KNNAccuracy()
    metric.set_gallery(gallery(5))
    metric.process(None, samples(torch.eye(5), range(5)))
    result = metric.evaluate(5)
    assert result == {f'knn/k{k}_top1': 100. for k in (10, 20, 100, 200)}


def test_errors():
    with pytest.raises(ValueError, match='positive'):
        KNNAccuracy(k=(0, ))
    metric = KNNAccuracy()
    with pytest.raises(RuntimeError, match='GalleryValLoop.*gallery_data'):
        metric.process(None, samples(torch.eye(2), [0, 1]))
    with pytest.raises(ValueError, match='none has one'):
        metric.set_gallery(gallery(2)._replace(labels=None))
    metric.set_gallery(gallery(2))
    with pytest.raises(KeyError, match='no `feature`.*cat.jpg'):
        metric.process(None, [dict(gt_label=0, img_path='cat.jpg')])
    with pytest.raises(KeyError, match='no `gt_label`.*must have classes'):
        metric.process(None, [dict(feature=torch.ones(2))])
    with pytest.raises(ValueError, match='got no query'):
        metric.evaluate(0)


def points(size, seed):
    """Noisy points on a grid so coarse that many similarities are equal."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(7, (size, ), generator=generator)
    noise = torch.randint(-1, 2, (size, 7), generator=generator)
    return torch.eye(7)[labels] + noise, labels


def make(num_gallery):
    features, labels = points(11, 1)
    queries = samples(features, labels.tolist())
    return KNNAccuracy(k=(1, 3, 20)), points(num_gallery, 0), queries


def test_two_ranks_share_the_gallery(tmp_path, two_ranks):
    """Also where a share has fewer than k images, or none of its own."""
    scores = [
        score_alike(two_ranks, tmp_path / str(size), partial(make, size))
        for size in (40, 13, 4, 1)
    ]
    assert len({score['knn/k3_top1'] for score in scores}) > 1
