import numpy as np
import pytest

from mmdino.datasets.transforms import GaussianBlur, augment
from mmdino.datasets.transforms.augment import blur_kernel


@pytest.mark.parametrize('radius', [0.1, 0.3, 0.5, 1.0, 1.3, 2.0])
def test_parity_with_pillow(photos, pillow, distance, radius):
    for photo in photos:
        ours = augment.gaussian_blur(photo, radius)
        assert distance(ours, pillow.gaussian_blur(photo, radius)) < 1


@pytest.mark.parametrize('radius', [0.1, 0.7, 2.0])
def test_kernel_has_the_variance_asked_for(radius):
    kernel = blur_kernel(radius).astype(float)
    places = np.arange(len(kernel)) - len(kernel) // 2
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(kernel @ places**2, radius**2, rtol=1e-5)


def test_draws_a_radius_at_every_call(monkeypatch):
    radii = []
    monkeypatch.setattr(augment, 'gaussian_blur',
                        lambda img, radius: radii.append(radius))
    for _ in range(200):
        GaussianBlur(prob=0.5).transform(
            dict(img=np.zeros((2, 2, 3), np.uint8)))
    assert 70 < len(set(radii)) == len(radii) < 130
    assert 0.1 <= min(radii) < 0.3 and 1.8 < max(radii) <= 2.0


def test_rejects_reversed_radius():
    with pytest.raises(ValueError, match=r'radius .* got \(2.0, 0.1\)'):
        GaussianBlur(prob=1., radius=(2.0, 0.1))
