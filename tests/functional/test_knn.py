import math
import sys

import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from mmdino.functional.knn import (knn_predict, nearest_neighbours,
                                   weighted_vote)

KS = (1, 5, 20)


def random_case(num_queries=37, num_gallery=53, num_classes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_gallery, ), generator=generator)
    centers = torch.randn(num_classes, 6, generator=generator)
    gallery = centers[labels] + torch.randn(
        num_gallery, 6, generator=generator)
    queries = torch.randn(num_queries, 6, generator=generator)
    return queries, gallery, labels


def naive_shares(query, gallery, labels, k, temperature):
    """Rule 14 word for word, in float64: {class: share of the votes}."""
    similarities = []
    for image in gallery.tolist():
        dot = sum(a * b for a, b in zip(query, image))
        norms = math.hypot(*query) * math.hypot(*image)
        similarities.append(dot / norms)
    order = sorted(range(len(gallery)), key=lambda i: -similarities[i])
    votes = {}
    for i in order[:k]:
        vote = math.exp(similarities[i] / temperature)
        votes[int(labels[i])] = votes.get(int(labels[i]), 0) + vote
    return {c: v / sum(votes.values()) for c, v in votes.items()}


def test_equals_the_definition_in_float64():
    queries, gallery, labels = random_case()
    predictions = knn_predict(queries, gallery, labels, KS)
    for k, prediction in predictions.items():
        for row, query in enumerate(queries.tolist()):
            truth = naive_shares(query, gallery, labels, k, 0.07)
            best = sorted(truth, key=lambda c: (-truth[c], c))[:5]
            found = prediction.classes[row].tolist()
            assert found == best + [-1] * (5 - len(best))
            shares = prediction.shares[row, :len(best)].double()
            wanted = torch.tensor([truth[c] for c in best]).double()
            torch.testing.assert_close(shares, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize('k', KS)
def test_equals_scikit_learn(k):
    queries, gallery, labels = random_case(200, 300, seed=1)
    classifier = KNeighborsClassifier(
        k,
        metric='cosine',
        algorithm='brute',
        weights=lambda distance: torch.exp(
            (1 - torch.from_numpy(distance)) / 0.07).numpy())
    classifier.fit(gallery.double().numpy(), labels.numpy())
    wanted = classifier.predict(queries.double().numpy())
    prediction = knn_predict(queries, gallery, labels, [k])[k]
    assert prediction.classes[:, 0].tolist() == wanted.tolist()


@pytest.mark.parametrize('query_block,gallery_block', [(1, 1), (5, 8),
                                                       (64, 3)])
def test_blocks_change_nothing(query_block, gallery_block):
    queries, gallery, labels = random_case()
    blocks = dict(query_block=query_block, gallery_block=gallery_block)
    _, places = nearest_neighbours(queries, gallery, 20, **blocks)
    _, wanted = nearest_neighbours(queries, gallery, 20)
    assert places.equal(wanted)


@pytest.mark.parametrize('order', ['rising', 'falling', 'mixed'])
def test_no_order_of_the_gallery_changes_the_neighbours(order):
    """Neither blocks full of nearer images than any before, nor ties."""
    generator = torch.Generator().manual_seed(3)
    # 30 similarities, each of them eight times.
    angles = torch.rand(30, generator=generator).repeat(8)
    angles = dict(
        rising=angles.sort(descending=True).values,
        falling=angles.sort().values,
        mixed=angles)[order]
    gallery = torch.stack([angles.cos(), angles.sin()], dim=1)
    query = torch.tensor([[1., 0.]])
    values, places = nearest_neighbours(query, gallery, 20, gallery_block=16)
    wanted = (query @ F.normalize(gallery, dim=1).t())[0].sort(
        descending=True, stable=True)
    torch.testing.assert_close(values[0], wanted.values[:20])
    assert places[0].equal(wanted.indices[:20])


def test_equal_similarities_keep_the_gallery_order():
    gallery = torch.tensor([[1., 0.]] * 50 + [[-1., 0.]] * 50)
    queries = torch.tensor([[1., 0.], [0., 1.], [-2., 0.]])
    for block in (1, 7, 100):
        similarities, places = nearest_neighbours(
            queries, gallery, 4, gallery_block=block)
        assert places.tolist() == [[0, 1, 2, 3]] * 2 + [[50, 51, 52, 53]]
        assert similarities.tolist() == [[1.] * 4, [0.] * 4, [1.] * 4]


def test_similarities_are_the_true_ones_of_both_signs():
    queries, gallery, _ = random_case()
    similarities, places = nearest_neighbours(queries, gallery, 53)
    wanted = torch.cosine_similarity(queries[:, None], gallery[None], dim=2)
    torch.testing.assert_close(similarities, wanted.gather(1, places))
    assert (similarities.diff(dim=1) <= 0).all() and similarities.min() < 0


def test_equal_votes_go_to_the_smaller_label():
    votes = weighted_vote(
        torch.zeros(1, 4), torch.tensor([[3, 1, 1, 3]]), 5, [1, 2, 4])
    assert votes[1].classes[0, 0] == 3
    assert votes[2].classes[0].tolist()[:2] == [1, 3]
    assert votes[4].shares[0].tolist() == [.5, .5, 0, 0, 0]


def test_small_galleries_few_classes_and_no_query():
    gallery = torch.eye(3)
    labels = torch.tensor([40, 7, 40])  # labels with gaps
    predictions = knn_predict(torch.eye(3)[:1], gallery, labels, (1, 200))
    assert predictions[1].classes.tolist() == [[40, -1]]
    assert predictions[200].classes.tolist() == [[40, 7]]
    empty = knn_predict(torch.empty(0, 3), gallery, labels, (2, ))
    assert empty[2].classes.shape == (0, 2)
    empty = knn_predict(
        torch.empty(0, 3), gallery, labels, (1, ), gallery_block=1)
    assert empty[1].classes.shape == (0, 2)


def test_sharp_temperatures_do_not_overflow():
    queries, gallery, labels = random_case()
    prediction = knn_predict(queries, gallery, labels, [9], 1e-4)[9]
    nearest = nearest_neighbours(queries, gallery, 1)[1][:, 0]
    assert prediction.classes[:, 0].equal(labels[nearest])


@pytest.mark.parametrize('change,message', [
    (dict(ks=[]), 'at least 1, got'),
    (dict(ks=[0, 5]), 'at least 1, got'),
    (dict(temperature=0.), 'positive, got 0'),
    (dict(labels=torch.zeros(2)), '3 features but 2 labels'),
    (dict(queries=torch.ones(4, 5)), 'got (4, 5) and (3, 3)'),
    (dict(queries=torch.full((4, 3), torch.nan)), '4 of 4 query features'),
    (dict(gallery=torch.ones(0, 3), labels=torch.ones(0)), 'is empty'),
])
def test_errors(change, message):
    arguments = dict(
        queries=torch.ones(4, 3), gallery=torch.eye(3), labels=torch.arange(3))
    with pytest.raises(ValueError) as error:
        knn_predict(**{**arguments, **change})
    assert message in str(error.value)


def test_faiss_finds_the_same_neighbours():
    pytest.importorskip('faiss')
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(30, 16, generator=generator)
    gallery = torch.randn(500, 16, generator=generator)
    for k in (1, 20, 600):
        values, places = nearest_neighbours(queries, gallery, k)
        found = nearest_neighbours(queries, gallery, k, backend='faiss')
        assert found[1].equal(places)
        torch.testing.assert_close(found[0], values)
    gallery[3] = gallery[7]  # ties by the place in the gallery
    places = nearest_neighbours(gallery[7:8], gallery, 2, backend='faiss')[1]
    assert places.tolist() == [[3, 7]]


@pytest.mark.parametrize('folder, kernels, warned', [
    ('faiss_cpu.libs', 'Prescott', True),
    ('faiss_cpu.libs', 'Haswell', False),
    ('numpy.libs', 'Prescott', False),
])
def test_a_slow_faiss_is_told(monkeypatch, recwarn, folder, kernels, warned):
    pytest.importorskip('faiss')
    library = dict(
        filepath=f'/site/{folder}/libopenblas.so',
        architecture=kernels,
        version='0.3.15')
    openmp = dict(filepath='/site/faiss_cpu.libs/libgomp.so', version=None)
    monkeypatch.setattr('mmdino.functional.knn.threadpool_info',
                        lambda: [openmp, library])
    nearest_neighbours(torch.eye(3), torch.eye(3), 1, backend='faiss')
    assert [
        'OpenBLAS 0.3.15' in str(warning.message)
        and "backend='torch' is faster" in str(warning.message)
        for warning in recwarn
    ] == [True] * warned


def test_a_backend_that_is_not_there_is_refused(monkeypatch):
    features = torch.eye(3)
    with pytest.raises(ValueError, match="'torch' or 'faiss', got 'annoy'"):
        nearest_neighbours(features, features, 1, backend='annoy')
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match=r'mmdino\[faiss\]'):
        nearest_neighbours(features, features, 1, backend='faiss')
