import numpy as np
import pytest
import torch

from mmdino.datasets.benchmarks.copydays import DISTRACTOR, WHITENING
from mmdino.evaluation.base import Gallery
from mmdino.evaluation.metrics import CopyDetectionMAP
from mmdino.registry import METRICS
from tests.evaluation.metrics.dealing import (gallery_of_rank, samples,
                                              score_alike)


def gallery(features, labels):
    return gallery_of_rank(features, labels, len(features))


def test_by_hand_without_whitening():
    """The copies' originals are at ranks 0, 1 and, of two retrieved, none."""
    metric = METRICS.build(dict(type='mmdino.CopyDetectionMAP', depth=2))
    features = torch.eye(3)[[0, 1, 2]]
    labels = torch.tensor([2000, 2001, DISTRACTOR])
    metric.set_gallery(gallery(5 * features, labels))
    metric.process(
        None,
        samples(
            torch.tensor([[9., 2., 1.], [9., 2., 1.], [1., 0., 2.]]),
            [2000, 2001, 2001]))
    result = metric.evaluate(3)
    # precision 1 -> 1; 0 -> 1/2; nothing found
    assert result == {'copydays/map': pytest.approx(100 * (1 + 1 / 4) / 3)}
    assert metric.gallery is None


@pytest.mark.parametrize('whitened', [False, True])
def test_a_network_that_diverged(whitened):
    metric, features = CopyDetectionMAP(), torch.eye(4)
    labels = torch.tensor([0, 1, 2, WHITENING if whitened else 3])
    with pytest.raises(ValueError, match='4 of 4 gallery .* diverged'):
        metric.set_gallery(gallery(features * float('nan'), labels))
    metric.set_gallery(gallery(features, labels))
    with pytest.raises(ValueError, match='query features are not finite'):
        metric.process(None, samples(features[:1] * float('nan'), [0]))


def test_whitening_is_learnt_on_its_own_images():
    """As a few lines of numpy do it."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    learnt_on, ranked, query = (
        rng.normal(size=(n, 5)) @ mixing + 2 for n in (300, 12, 1))
    values, vectors = np.linalg.eigh(learnt_on.T @ learnt_on / 300)
    project = (vectors / values**.5).T
    white, white_query = ((x - learnt_on.mean(0)) @ project.T
                          for x in (ranked, query))
    similarity = white @ white_query[0] / np.linalg.norm(white, axis=1)
    order = np.argsort(-similarity)
    assert order[0] != np.argmax(ranked @ query[0] /
                                 np.linalg.norm(ranked, axis=1))

    metric = CopyDetectionMAP()
    labels = torch.tensor([*range(12), *[WHITENING] * 300])
    features = torch.from_numpy(np.concatenate([ranked, learnt_on])).float()
    metric.set_gallery(gallery(features, labels))
    metric.process(None, samples(torch.from_numpy(query), [order[0]]))
    assert metric.evaluate(1) == {'copydays/map': 100.}
    metric.set_gallery(gallery(features, labels))
    metric.process(None, samples(torch.from_numpy(query), [order[3]]))
    assert metric.evaluate(1) == {'copydays/map': pytest.approx(100 / 4 / 2)}


def make():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([*range(9), *[DISTRACTOR] * 5, *[WHITENING] * 11])
    features = torch.randn(25, 6, generator=generator)
    noise = torch.randn(9, 6, generator=generator)
    return CopyDetectionMAP(), (features,
                                labels), samples(features[:9] + noise,
                                                 range(9))


def test_two_ranks_equal_one(tmp_path, two_ranks):
    scores = score_alike(two_ranks, tmp_path, make)
    assert 10 < scores['copydays/map'] < 100


def test_few_whitening_images_are_said(monkeypatch):
    lines = []
    monkeypatch.setattr('mmdino.evaluation.metrics.retrieval.print_log',
                        lambda line, **kwargs: lines.append(line))
    labels = torch.tensor([0, WHITENING, WHITENING])
    CopyDetectionMAP().set_gallery(gallery(torch.randn(3, 4), labels))
    assert 'learnt on 2 images' in lines[0]
    assert 'fewer images than the 4 features' in lines[1]


def test_errors():
    with pytest.raises(ValueError, match='depth must be at least 1'):
        CopyDetectionMAP(depth=0)
    metric = CopyDetectionMAP()
    with pytest.raises(RuntimeError, match='GalleryTestLoop'):
        metric.process(None, [{}])
    labels = torch.tensor([DISTRACTOR, WHITENING])
    with pytest.raises(ValueError, match="no original.*'database'"):
        metric.set_gallery(gallery(torch.eye(2), labels))
    with pytest.raises(ValueError, match="no original.*'database'"):
        metric.set_gallery(Gallery(torch.eye(2), None, torch.arange(2), 2))
    metric.set_gallery(gallery(torch.eye(2), torch.tensor([0, 1])))
    with pytest.raises(KeyError, match='no `feature`.*a.jpg'):
        metric.process(None, [dict(img_path='a.jpg')])
    with pytest.raises(KeyError, match="no `gt_label`.*'strong'"):
        metric.process(None, [dict(feature=torch.ones(2))])
    with pytest.raises(ValueError, match='got no query'):
        metric.evaluate(0)


def test_copies_without_an_original_are_counted(monkeypatch):
    told = []
    monkeypatch.setattr('mmdino.evaluation.metrics.retrieval.print_log',
                        lambda text, **_: told.append(text))
    metric = CopyDetectionMAP()
    assert metric.compute_metrics([.5, 1.]) == dict(map=75.) and not told
    assert metric.compute_metrics([.5, float('nan')]) == dict(map=50.)
    assert told[0].startswith('1 of 2 copies are left out')
