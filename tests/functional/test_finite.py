"""A network that has diverged is an error in the same words everywhere."""
import pytest
import torch

from mmdino.functional.attention import mass_threshold
from mmdino.functional.dense import (lost_box, mutual_nearest,
                                     principal_components)
from mmdino.functional.finite import require_finite
from mmdino.functional.knn import nearest_neighbours
from mmdino.functional.low_shot import logistic_regression
from mmdino.functional.rank import rankme
from mmdino.functional.retrieval import learn_whitening, rank_gallery

GOOD = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
BAD = GOOD.clone()
BAD[2, 3] = float('nan')
LABELS = torch.tensor([0, 1] * 3)
WORDS = ('1 of {} are not finite: the network has diverged or an image is '
         'broken. Check the checkpoint and the images.')


@pytest.mark.parametrize('function, what', [
    (lambda: nearest_neighbours(BAD, GOOD, 2), '6 query features'),
    (lambda: nearest_neighbours(GOOD, BAD, 2), '6 gallery features'),
    (lambda: rankme(BAD), '6 features'),
    (lambda: learn_whitening(BAD), '6 whitening features'),
    (lambda: rank_gallery(BAD[2], GOOD), '1 query features'),
    (lambda: rank_gallery(GOOD[0], BAD), '6 gallery features'),
    (lambda: logistic_regression(BAD, LABELS, GOOD, 1.), '6 gallery features'),
    (lambda: logistic_regression(GOOD, LABELS, BAD, 1.), '6 query features'),
    (lambda: mass_threshold(BAD.abs().view(6, 2, 2)), '6 attention maps'),
    (lambda: principal_components(BAD), '6 patch features'),
    (lambda: mutual_nearest(GOOD, BAD), '6 patch features'),
    (lambda: lost_box(BAD, (2, 3)), '6 patch features'),
])
def test_what_is_not_finite_is_refused(function, what):
    with pytest.raises(ValueError) as error:
        function()
    assert str(error.value) == WORDS.format(what)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_every_kind(value):
    features = torch.ones(3, 2, 2)
    features[1, 0, 1] = value
    with pytest.raises(ValueError, match='1 of 3 maps are not finite'):
        require_finite(features, 'maps')


def test_sums_of_half_precision_do_not_overflow():
    features = torch.full((2, 2048), 40.)  # the sum is beyond 65504
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        require_finite(features.to(dtype), 'features')
    similarities, _ = nearest_neighbours(features.half(), features.half(), 1)
    torch.testing.assert_close(similarities, torch.ones(2, 1))
