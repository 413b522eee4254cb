import numpy as np
import pytest

from mmdino.datasets.transforms import RandomGrayscale
from mmdino.datasets.transforms.augment import to_gray


def test_parity_with_pillow(photos, pillow, distance):
    for photo in photos:
        assert distance(to_gray(photo), pillow.to_gray(photo)) < 0.1


@pytest.mark.parametrize('prob, share', [(0., 0.), (0.2, 0.2), (1., 1.)])
def test_happens_with_its_probability(photos, prob, share):
    np.random.seed(0)
    gray = [
        np.ptp(
            RandomGrayscale(prob).transform(
                dict(img=photos[0][:8, :8]))['img'],
            axis=2).max() == 0 for _ in range(300)
    ]
    assert abs(np.mean(gray) - share) < 0.08


def test_rejects_impossible_probability():
    with pytest.raises(ValueError, match=r'within \[0, 1\], got 1.5'):
        RandomGrayscale(1.5)
