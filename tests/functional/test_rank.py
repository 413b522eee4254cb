import numpy as np
import pytest
import torch

from mmdino.functional.rank import rankme
from mmdino.registry import METRICS


def by_definition(features):
    """Equation 1 of arXiv 2210.02885."""
    values = np.linalg.svd(features.numpy(), compute_uv=False)
    shares = values / values.sum() + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize('shape', [(50, 8), (5, 8), (1, 3)])
def test_it_is_the_definition(shape):
    features = torch.randn(*shape, dtype=torch.float64) + 1
    assert rankme(features) == pytest.approx(by_definition(features), 1e-5)


def test_known_ranks():
    assert rankme(torch.eye(6).repeat(4, 1)) == pytest.approx(6, 1e-4)
    alike = torch.ones(100, 16) * torch.rand(100, 1)
    assert rankme(alike) == pytest.approx(1, 1e-3)
    features = torch.randn(64, 8)
    assert rankme(3 * features) == pytest.approx(rankme(features), 1e-6)
    turned = features @ torch.linalg.qr(torch.randn(8, 8))[0]
    assert rankme(turned) == pytest.approx(rankme(features), 1e-4)


def test_errors():
    with pytest.raises(ValueError, match='features'):
        rankme(torch.zeros(3))
    with pytest.raises(ValueError, match='not finite'):
        rankme(torch.tensor([[1., float('nan')]]))


def test_the_metric_is_that_of_all_samples(capsys):
    metric = METRICS.build(dict(type='mmdino.RankMe'))
    features = torch.randn(30, 8)
    for rows in features.split(10):
        metric.process(None, [dict(feature=row) for row in rows])
    found = metric.evaluate(30)
    assert found == {'rank/rankme': pytest.approx(rankme(features))}
    with pytest.raises(KeyError, match='feature'):
        metric.process(None, [dict(gt_label=1)])
