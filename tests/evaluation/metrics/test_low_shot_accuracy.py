import pytest
import torch

from mmdino.evaluation import LowShotAccuracy
from mmdino.functional.low_shot import logistic_regression
from tests.evaluation.metrics.dealing import (gallery_of_rank, samples, score,
                                              score_alike)
from tests.evaluation.metrics.test_knn_accuracy import points


def make():
    features, labels = points(23, 1)
    return LowShotAccuracy(C=(1., 100.)), points(41, 0), samples(
        features, labels.tolist())


def test_two_ranks_equal_one(tmp_path, two_ranks):
    scores = score_alike(two_ranks, tmp_path, make)
    assert set(scores) == {
        f'low_shot/c{c}_top{k}'
        for c in (1, 100)
        for k in (1, 5)
    }


def test_accuracy_is_the_share_of_hits():
    queries, truth = points(23, 1)
    ranked, _ = logistic_regression(*points(41, 0), queries, 100.)
    hits = sum(int(r[0] == t) for r, t in zip(ranked, truth))
    near = sum(int(t in r[:5]) for r, t in zip(ranked, truth))
    result = score(*make())
    assert result['low_shot/c100_top1'] == pytest.approx(100 * hits / 23)
    assert result['low_shot/c100_top5'] == pytest.approx(100 * near / 23)
    assert 20 < result['low_shot/c100_top1'] < 100


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match='positive'):
        LowShotAccuracy(C=(0., ))
    metric = LowShotAccuracy()
    with pytest.raises(RuntimeError, match='GalleryTestLoop'):
        metric.process(None, [])
    with pytest.raises(ValueError, match='label for every gallery image'):
        metric.set_gallery(gallery_of_rank(torch.eye(2), None, 2))
    metric.set_gallery(gallery_of_rank(torch.eye(2), torch.arange(2), 2))
    with pytest.raises(KeyError, match='no `gt_label`.*cat.jpg'):
        metric.process(None, [dict(feature=0, img_path='cat.jpg')])
    lines = []
    monkeypatch.setattr(
        'mmdino.evaluation.metrics.accuracy.'
        'logistic_regression', lambda *_: (torch.tensor([[0, 1]]), False))
    monkeypatch.setattr('mmdino.evaluation.metrics.accuracy.print_log',
                        lambda line, **_: lines.append(line))
    metric.process(None, samples(torch.eye(2)[:1], [0]))
    assert metric.evaluate(1) == {'low_shot/c100_top1': 100.}
    assert 'C = 100 has not converged' in lines[0]
