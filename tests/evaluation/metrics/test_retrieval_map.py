import numpy as np
import pytest
import torch

from mmdino.evaluation.metrics import RetrievalMAP
from mmdino.registry import METRICS
from tests.evaluation.metrics.dealing import gallery_of_rank, score_alike


def gallery(features):
    return gallery_of_rank(features, None, len(features))


def annotation(easy=(), hard=(), junk=()):
    return dict(
        easy=np.array(easy, int),
        hard=np.array(hard, int),
        junk=np.array(junk, int))


def test_by_hand():
    """Two queries on axes, the gallery at rising angles from the first."""
    angles = torch.tensor([0., .1, .2, .3, .4])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    metric = METRICS.build(dict(type='mmdino.RetrievalMAP', ks=(1, 5)))
    metric.set_gallery(gallery(7 * features))
    metric.process(
        None,
        [
            # ranking 0 1 2 3 4; medium: j p n p n, hard: j j n p n
            dict(
                feature=3 * torch.tensor([1., 0.]),
                annotation=annotation(easy=[1], hard=[3], junk=[0])),
            # ranking 4 3 2 1 0; medium: n n p n n, hard: no positive
            dict(
                feature=torch.tensor([0., 1.]),
                annotation=annotation(easy=[2]))
        ])
    result = metric.evaluate(2)
    first = (1 + 1 + 1 / 2 + 2 / 3) / 4
    second = (0 + 1 / 3) / 2
    assert result == pytest.approx({
        'retrieval/medium_map':
        50 * (first + second),
        'retrieval/medium_mp1':
        50 * (1 + 0),
        'retrieval/medium_mp5':
        50 * (2 / 3 + 1 / 3),
        'retrieval/hard_map':
        100 * (0 + 1 / 2) / 2,
        'retrieval/hard_mp1':
        0.,
        'retrieval/hard_mp5':
        100 / 2,
    })
    assert metric.gallery is None


def test_a_network_that_diverged():
    features, metric = torch.eye(3), RetrievalMAP()
    with pytest.raises(ValueError, match='3 of 3 gallery .* diverged'):
        metric.set_gallery(gallery(features * float('nan')))
    metric.set_gallery(gallery(features))
    query = dict(
        feature=features[0] * float('nan'), annotation=annotation([1]))
    with pytest.raises(ValueError, match='query features are not finite'):
        metric.process(None, [query])


def make(queries=7, size=20):
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    features = torch.randn(queries, 6, generator=generator)
    kinds = [rng.permutation(size)[:9].reshape(3, 3) for _ in range(queries)]
    samples = [
        dict(feature=f, annotation=annotation(*k))
        for f, k in zip(features, kinds)
    ]
    features = torch.randn(size, 6, generator=generator)
    return RetrievalMAP(), (features, None), samples


def test_two_ranks_equal_one(tmp_path, two_ranks):
    scores = score_alike(two_ranks, tmp_path, make)
    assert 0 < scores['retrieval/hard_map'] < 100


def test_errors():
    with pytest.raises(ValueError, match='ks must be positive'):
        RetrievalMAP(ks=(0, 5))
    metric = RetrievalMAP()
    with pytest.raises(RuntimeError, match='GalleryTestLoop'):
        metric.process(None, [{}])
    metric.set_gallery(gallery(torch.eye(2)))
    with pytest.raises(KeyError, match='no `feature`.*a.jpg'):
        metric.process(None, [dict(img_path='a.jpg')])
    with pytest.raises(KeyError, match="no `annotation`.*'queries'"):
        metric.process(None, [dict(feature=torch.ones(2))])
    with pytest.raises(ValueError, match='got no query'):
        metric.evaluate(0)
