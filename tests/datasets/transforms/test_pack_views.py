import cv2
import numpy as np
import pytest
from mmpretrain.datasets import PackInputs

from mmdino.datasets.transforms import PackViews


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_equals_mmpretrains(photos, channels):
    rng = np.random.default_rng(0)
    views = [
        rng.integers(0, 256, (side, side + 1, channels), np.uint8)
        for side in (5, 8)
    ]
    results = dict(img=views, gt_label=3, img_path='a.jpg')
    ours, theirs = PackViews()(results), PackInputs()(results)
    for a, b in zip(ours['inputs'], theirs['inputs'], strict=True):
        assert a.equal(b) and a.is_contiguous()
    for sample in (ours['data_samples'], theirs['data_samples']):
        assert sample.gt_label == 3 and sample.img_path == 'a.jpg'


def test_planes_that_opencv_puts_elsewhere(photos, monkeypatch):
    wanted, = PackViews.format_input(photos[:1])
    split = cv2.split
    monkeypatch.setattr(cv2, 'split', lambda img, mv=None: split(img))
    ours, = PackViews.format_input(photos[:1])
    assert ours.equal(wanted) and ours.is_contiguous()
