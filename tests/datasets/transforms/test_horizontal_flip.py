import numpy as np
import pytest

from mmdino.datasets.transforms import HorizontalFlip


def test_mirrors(photos):
    out = HorizontalFlip(prob=1.).transform(dict(img=photos[0]))['img']
    np.testing.assert_array_equal(out, photos[0][:, ::-1])
    out = HorizontalFlip(prob=0.).transform(dict(img=photos[0]))['img']
    assert out is photos[0]


def test_rejects_impossible_probability():
    with pytest.raises(ValueError, match='got 2'):
        HorizontalFlip(prob=2)
