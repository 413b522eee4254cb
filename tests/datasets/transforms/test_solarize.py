import numpy as np
import pytest

from mmdino.datasets.transforms import Solarize
from mmdino.datasets.transforms.augment import solarize


def test_parity_with_pillow(photos, pillow):
    for photo in photos:
        np.testing.assert_array_equal(
            solarize(photo, 128), pillow.solarize(photo, 128))


def test_inverts_from_the_threshold_on():
    img = np.array([[[0, 127, 128], [200, 255, 1]]], np.uint8)
    out = Solarize(prob=1.).transform(dict(img=img))['img']
    np.testing.assert_array_equal(out, [[[0, 127, 127], [55, 0, 1]]])


def test_rejects_impossible_probability():
    with pytest.raises(ValueError, match='got -0.1'):
        Solarize(prob=-0.1)
