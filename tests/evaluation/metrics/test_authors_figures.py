"""The metrics, from features or masks to figures, against the authors'."""
import pytest
import torch

from mmdino.datasets.benchmarks.copydays import DISTRACTOR, WHITENING
from mmdino.evaluation import (CopyDetectionMAP, DAVISMetric, KNNAccuracy,
                               RetrievalMAP)
from mmdino.functional.retrieval import average_precision
from tests import golden
from tests.evaluation.metrics.dealing import samples, score


def test_knn():
    data = golden.measure('knn')
    metric = KNNAccuracy(temperature=float(data['temperature']))
    got = score(metric, (data['train'], data['train_labels']),
                samples(data['test'], data['test_labels']))
    wanted = {
        f'knn/k{k}_{key}': value
        for k in metric.k
        for key, value in zip(('top1', 'top5'), data[f'k{k}'].tolist())
    }
    assert got == pytest.approx(wanted, abs=1e-12)


def features_that_rank(orders):
    """Features for given rankings: queries (Q, D) and a gallery (G, D).

    Args:
        orders: (G, Q) places in the gallery, the most similar first.
    """
    size, number = orders.shape
    heights = torch.linspace(.3, 0, size)[:, None].expand(size, number)
    gallery = torch.zeros(size, number).scatter(0, orders, heights)
    rest = (1 - gallery.square().sum(dim=1, keepdim=True)).sqrt()
    queries = torch.eye(number, number + 1)
    return queries, torch.cat([gallery, rest], dim=1)  # of unit length


def test_retrieval():
    data = golden.measure('retrieval')
    queries, gallery = features_that_rank(data['ranks'])
    queries = [
        dict(
            feature=query,
            annotation=dict(
                easy=[], hard=data[f'ok{i}'], junk=data[f'junk{i}']))
        for i, query in enumerate(queries)
    ]
    wanted = dict(map=data['map'])
    wanted.update(
        (f'mp{k}', value) for k, value in zip(data['kappas'], data['pr']))
    assert score(RetrievalMAP(), (gallery, None), queries) == pytest.approx(
        {
            f'retrieval/{protocol}_{key}': 100 * float(value)
            for protocol in ('medium', 'hard')
            for key, value in wanted.items()
        },
        abs=1e-13)


@pytest.mark.parametrize('case', range(7))
def test_copy_detection(case):
    """What was not found lies beyond the images that are retrieved."""
    data = golden.measure('copy_ap')
    ranks, number = data[f'ranks{case}'], int(data[f'positives{case}'])
    labels = torch.full((40, ), DISTRACTOR)
    labels[ranks] = labels[30:30 + number - len(ranks)] = 7
    angles = torch.linspace(0, 1, 40)
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    got = score(CopyDetectionMAP(), (features, labels),
                samples(torch.eye(2)[:1], [7]))
    assert got == {'copydays/map': 100 * float(data[f'ap{case}'])}


def test_copy_detection_ranks_whitened_features():
    """Query i asks for the image at place i of the authors' ranking."""
    data = golden.measure('whitening')
    similarities = torch.cosine_similarity(
        data['whitened_query'][:, None], data['whitened_base'][None], dim=2)
    orders = similarities.argsort(dim=1, descending=True)
    queries, images = len(orders), len(data['base'])
    labels = torch.full((images + len(data['learn']), ), WHITENING)
    labels[:images] = torch.arange(images)
    got = score(
        CopyDetectionMAP(depth=images),
        (torch.cat([data['base'], data['learn']]), labels),
        samples(data['query'], orders.diagonal()))
    areas = [average_precision([i], 1) for i in range(queries)]
    assert got == {'copydays/map': pytest.approx(100 * sum(areas) / queries)}


def test_davis():
    """A frame more at both ends, since the benchmark leaves those out."""
    data = golden.measure('davis')
    masks = {
        key: torch.cat([data[name][:1], data[name], data[name][-1:]])
        for key, name in (('pred_masks', 'result'), ('gt_masks', 'truth'))
    }
    metric = DAVISMetric()
    metric.process(None, [dict(sequence='kite', **masks)])
    got = metric.evaluate(1)
    for number in (1, 2):
        for letter, scores in zip('jf', metric.objects[f'kite_{number}']):
            wanted = data[f'{letter}{number}_mean_recall_decay'].tolist()
            assert scores == pytest.approx(wanted, abs=1e-15)
    for letter in 'jf':
        means = sum(data[f'{letter}{i}_mean_recall_decay'] for i in (1, 2)) / 2
        names = [f'davis/{letter}_{x}' for x in ('mean', 'recall', 'decay')]
        assert [got[name] for name in names] == pytest.approx(
            (100 * means).tolist(), abs=1e-13)
    assert got['davis/jf_mean'] == pytest.approx(
        (got['davis/j_mean'] + got['davis/f_mean']) / 2)
