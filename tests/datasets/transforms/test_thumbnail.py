import numpy as np
import pytest
from PIL import Image

from mmdino.registry import TRANSFORMS


@pytest.mark.parametrize('size,shape', [
    (24, (16, 24)),
    (48, (32, 48)),
    (50, (32, 48)),
    (500, (32, 48)),
])
def test_the_long_side_shrinks_but_never_grows(size, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    transform = TRANSFORMS.build(dict(type='mmdino.Thumbnail', size=size))
    results = transform(dict(img=pixels))
    assert results['img'].shape == (*shape, 3)
    assert results['img_shape'] == shape
    wanted = Image.fromarray(pixels)
    wanted.thumbnail((size, size), Image.LANCZOS)
    np.testing.assert_array_equal(results['img'], wanted)
    if size >= 48:
        np.testing.assert_array_equal(results['img'], pixels)


def test_size_is_checked():
    with pytest.raises(ValueError, match='at least 1 px, got 0'):
        TRANSFORMS.build(dict(type='mmdino.Thumbnail', size=0))
