import pytest
import torch

from mmdino.evaluation.metrics import KNNAccuracy
from mmdino.registry import METRICS


def samples(features, labels):
    return [
        dict(feature=f, gt_label=torch.tensor([c]))
        for f, c in zip(features, labels)
    ]


def test_accuracy_by_hand():
    """Three queries on their classes' axes, the fourth one labelled wrong."""
    metric = METRICS.build(dict(type='mmdino.KNNAccuracy', k=(1, 3)))
    metric.set_gallery(torch.eye(6), torch.arange(6))
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
    metric.set_gallery(torch.eye(5), torch.arange(5))
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
        metric.set_gallery(torch.eye(2), None)
    metric.set_gallery(torch.eye(2), torch.arange(2))
    with pytest.raises(KeyError, match='no `feature`.*cat.jpg'):
        metric.process(None, [dict(gt_label=0, img_path='cat.jpg')])
    with pytest.raises(KeyError, match='no `gt_label`.*must have classes'):
        metric.process(None, [dict(feature=torch.ones(2))])
    with pytest.raises(ValueError, match='got no query'):
        metric.evaluate(0)
