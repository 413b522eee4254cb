import numpy as np
import pytest
import torch

from mmdino.functional.retrieval import (average_precision, mean_scores,
                                         positive_ranks, precision_at,
                                         rank_gallery, score_query)


def ranks_of(marks):
    """Ranks from a ranking in letters: p positive, j junk, n neither."""
    order = np.arange(len(marks))
    places = {m: [i for i, c in enumerate(marks) if c == m] for m in 'pj'}
    return positive_ranks(order, places['p'], places['j'])


@pytest.mark.parametrize(
    'marks,ranks,area',
    [
        # Junk before, between and after: what is left is p p n.
        # precisions 1 -> 1, 1 -> 1
        ('jpjpnj', [0, 1], ((1 + 1) + (1 + 1)) / 2 / 2),
        # left: n p n p; 0/1 -> 1/2, then 1/3 -> 2/4
        ('njpnjp', [1, 3], ((0 + 1 / 2) + (1 / 3 + 2 / 4)) / 2 / 2),
        # left: p n n p p; 1 -> 1, 1/3 -> 2/4, 2/4 -> 3/5
        ('pnjjnpp', [0, 3, 4],
         ((1 + 1) + (1 / 3 + 2 / 4) + (2 / 4 + 3 / 5)) / 2 / 3),
    ])
def test_average_precision_by_hand(marks, ranks, area):
    assert ranks_of(marks).tolist() == ranks
    assert average_precision(ranks, len(ranks)) == pytest.approx(area)


def test_positives_that_were_not_found_add_nothing():
    assert average_precision([0], 4) == 1 / 4
    assert average_precision([], 4) == 0
    assert np.isnan(average_precision([], 0))


def test_precision_by_hand():
    ranks = ranks_of('njpnjppn')  # left: n p n p p n, places 2, 4, 5
    assert precision_at(ranks, 1) == 0
    assert precision_at(ranks, 2) == 1 / 2
    assert precision_at(ranks, 4) == 2 / 4
    # The last positive is at place 5: images beyond are not looked at.
    assert precision_at(ranks, 10) == 3 / 5
    assert np.isnan(precision_at(ranks_of('jn'), 10))


def brute_force(order, positives, junk, k):
    """Area and precision by a walk through the ranking, image by image."""
    area, seen, found, precision = 0., 0, 0, [1.]
    hits = []
    for place in order:
        if place in junk:
            continue
        seen += 1
        found += place in positives
        hits.append(place in positives)
        precision.append(found / seen)
        if place in positives:
            area += (precision[-2] + precision[-1]) / 2 / len(positives)
    last = max(i for i, hit in enumerate(hits, 1) if hit)
    first = hits[:min(k, last)]
    return area, sum(first) / len(first)


def test_random_rankings_equal_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(50):
        order = rng.permutation(30)
        easy, hard, junk = np.split(rng.permutation(30)[:12], [4, 7])
        annotation = dict(easy=easy, hard=hard, junk=junk)
        scores = score_query(order, annotation, (1, 5, 10))
        for k in (1, 5, 10):
            medium = brute_force(order, {*easy, *hard}, {*junk}, k)
            only = brute_force(order, {*hard}, {*junk, *easy}, k)
            assert (scores['medium_map'],
                    scores[f'medium_mp{k}']) == pytest.approx(medium)
            assert (scores['hard_map'],
                    scores[f'hard_mp{k}']) == pytest.approx(only)


def test_queries_without_positives_are_left_out():
    order = np.arange(4)
    only_easy = dict(easy=[0], hard=[], junk=[])
    both = dict(easy=[0], hard=[2], junk=[])
    scores = [score_query(order, a, (1, )) for a in (only_easy, both)]
    assert np.isnan(scores[0]['hard_map'])
    means = mean_scores(scores)
    # Of the second query alone: easy is junk, left are n p n.
    assert means['hard_map'] == scores[1]['hard_map'] == 1 / 4
    assert means['medium_map'] == (1 + (1 + 1 + 1 / 2 + 2 / 3) / 4) / 2
    assert np.isnan(mean_scores(scores[:1])['hard_mp1'])


def test_the_gallery_is_ranked_by_cosine():
    gallery = torch.eye(3)[[2, 0, 1, 0]]
    order = rank_gallery(torch.tensor([9., 5., 1.]), gallery)
    assert order.tolist() == [1, 3, 2, 0]
