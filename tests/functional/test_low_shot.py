import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mmdino.functional.low_shot import logistic_regression


def clusters(size, noise, seed, num_classes=4):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % num_classes
    points = torch.eye(num_classes)[labels]
    return points + noise * torch.randn(
        size, num_classes, generator=generator), labels


def test_separable_classes_are_told_apart():
    features, labels = clusters(40, .05, 0)
    queries, truth = clusters(80, .05, 1)
    ranked, converged = logistic_regression(
        features, 7 + 3 * labels, queries, C=1e3)
    assert converged and ranked.shape == (80, 4)
    assert ranked[:, 0].equal(7 + 3 * truth)


@pytest.mark.parametrize('num_classes', [2, 4])
def test_ranks_by_scikit_learns_probabilities(num_classes):
    features, labels = clusters(60, .7, 0, num_classes)
    queries, _ = clusters(50, .7, 1, num_classes)
    ranked, _ = logistic_regression(5 * features, labels, .1 * queries, C=10)
    model = LogisticRegression(
        C=10, max_iter=1000).fit(F.normalize(features), labels)
    wanted = model.predict_proba(F.normalize(queries)).argsort(axis=1)
    assert ranked.equal(torch.from_numpy(wanted).flip(1))


def test_the_gradient_of_the_objective_vanishes(monkeypatch):
    """C sum of cross-entropies + |W|^2 / 2, written down in float64."""
    features, labels = clusters(60, .7, 0)
    fitted = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(
        LogisticRegression, 'fit', lambda self, x, y:
        (fitted.append(self), fit(self, x, y)))
    logistic_regression(features.double(), labels, features.double(), C=10.)
    weight, bias = (
        torch.from_numpy(p).requires_grad_()
        for p in (fitted[0].coef_, fitted[0].intercept_))
    logits = F.normalize(features.double()) @ weight.t() + bias
    entropies = F.cross_entropy(logits, labels, reduction='sum')
    (10. * entropies + weight.square().sum() / 2).backward()
    # its tolerance, 1e-4, times the number of images and C
    assert weight.grad.abs().max() < .06 and bias.grad.abs().max() < .06
    assert weight.abs().max() > 1


def test_one_class_and_too_few_steps():
    features, labels = clusters(40, .7, 0)
    with pytest.raises(ValueError, match=r'at least two classes, got \[3\]'):
        logistic_regression(features[:1], torch.tensor([3]), features, 1.)
    assert not logistic_regression(
        features, labels, features, 1e4, max_iter=2)[1]
