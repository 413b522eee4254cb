import numpy as np
import pytest
from PIL import Image

from mmdino.datasets.transforms import CropToBox


def crop(pixels, box):
    return CropToBox()(dict(img=pixels, bbox=np.array(box), img_path='a.jpg'))


def test_crops_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    results = crop(pixels, [4.4, 3., 40.5, 30.6])
    np.testing.assert_array_equal(results['img'], pixels[3:31, 4:40])
    assert results['img_shape'] == (28, 36)
    for box in ([4.4, 3., 40.5, 30.6], [-2.5, 1., 50., 10.]):
        wanted = Image.fromarray(pixels).crop(box)
        np.testing.assert_array_equal(crop(pixels, box)['img'], wanted)


@pytest.mark.parametrize('box', [[4., 3., 4.2, 9.], [9., 3., 4., 9.]])
def test_empty_boxes(box):
    with pytest.raises(ValueError, match='a.jpg has an empty box'):
        crop(np.zeros((32, 48, 3), np.uint8), box)
