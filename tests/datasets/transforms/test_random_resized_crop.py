from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop as Reference

from mmdino.datasets.transforms import RandomResizedCrop, random_resized_crop
from mmdino.datasets.transforms.random_resized_crop import (RATIO, draw_box,
                                                            resize)


@pytest.mark.parametrize('size', [224, 96, 16])
def test_parity_with_pillow(photos, pillow, distance, size):
    for photo in photos:
        box = photo[10:120, 30:170]
        assert distance(resize(box, size), pillow.resize(box, size)) < 0.1


@pytest.mark.parametrize('size', [224, 16])
def test_without_the_private_operator_of_torch(photos, size, monkeypatch):
    boxes = [photo[10:120, 30:170] for photo in photos]
    ours = [resize(box, size) for box in boxes]
    monkeypatch.setattr(torch.ops, 'aten', SimpleNamespace())
    for box, wanted in zip(boxes, ours):
        np.testing.assert_array_equal(resize(box, size), wanted)


@pytest.mark.parametrize('scale', [(0.4, 1.0), (0.05, 0.4)])
def test_boxes_are_spread_as_torchvisions(scale):
    np.random.seed(0)
    torch.manual_seed(0)
    img = torch.empty(3, 120, 200)
    ours = np.array([draw_box(120, 200, scale, RATIO) for _ in range(4000)])
    theirs = np.array([
        Reference.get_params(img, list(scale), list(RATIO))
        for _ in range(4000)
    ])
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=2)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=2)


@pytest.mark.parametrize('height, width', [(1, 5000), (5000, 1), (1, 1),
                                           (40, 100)])
def test_falls_back_to_the_centre(height, width):
    # an area that no shape within the ratio reaches
    top, left, h, w = draw_box(height, width, (4., 4.), RATIO)
    assert 0 < h <= height and 0 < w <= width
    assert abs(2 * top + h - height) <= 1 and abs(2 * left + w - width) <= 1
    img = np.full((height, width, 3), 9, np.uint8)
    out = RandomResizedCrop(8, (0.4, 1.)).transform(dict(img=img))['img']
    assert out.shape == (8, 8, 3) and (out == 9).all()


def test_draws_anew_at_every_call(photos, monkeypatch):
    boxes = []
    monkeypatch.setattr(random_resized_crop, 'resize',
                        lambda img, size: boxes.append(img.shape))
    crop = RandomResizedCrop(8, (0.4, 1.))
    for _ in range(20):
        crop.transform(dict(img=photos[0]))
    assert len(set(boxes)) > 10


@pytest.mark.parametrize('wrong, message',
                         [(dict(size=0), 'got 0'),
                          (dict(scale=(1., 0.4)), r'scale .* \(1.0, 0.4\)'),
                          (dict(scale=(0.4, 1.5)), 'at most 1'),
                          (dict(scale=(0., 1.)), '0.0 < low'),
                          (dict(ratio=(2., )), 'two numbers')])
def test_rejects_impossible_bounds(wrong, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**{'size': 8, 'scale': (0.4, 1.), **wrong})
