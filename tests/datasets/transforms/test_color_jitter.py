import numpy as np
import pytest

from mmdino.datasets.transforms import ColorJitter, augment


@pytest.mark.parametrize('name, amounts', [
    ('adjust_brightness', (0.6, 0.9, 1.0, 1.4)),
    ('adjust_contrast', (0.6, 0.9, 1.0, 1.4)),
    ('adjust_saturation', (0.8, 0.9, 1.0, 1.2)),
    ('adjust_hue', (-0.1, -0.03, 0., 0.1)),
])
def test_parity_with_pillow(photos, pillow, distance, name, amounts):
    ours, reference = getattr(augment, name), getattr(pillow, name)
    for photo in photos:
        for amount in amounts:
            assert distance(ours(photo, amount), reference(photo, amount)) < 1


def test_order_is_random_and_bounds_hold(monkeypatch):
    calls = []
    for name in ('brightness', 'contrast', 'saturation', 'hue'):
        monkeypatch.setattr(
            augment,
            f'adjust_{name}',
            lambda img, x, name=name: calls.append((name, x)) or img)
    jitter = ColorJitter(prob=1.)
    for _ in range(100):
        jitter.transform(dict(img=np.zeros((2, 2, 3), np.uint8)))
    assert len({name for name, _ in calls[::4]}) == 4
    for name, low, high in (('brightness', 0.6, 1.4), ('contrast', 0.6, 1.4),
                            ('saturation', 0.8, 1.2), ('hue', -0.1, 0.1)):
        drawn = [x for n, x in calls if n == name]
        assert len(set(drawn)) == 100
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high >= max(drawn) > high - 0.1 * (high - low)


def test_leaves_its_input_alone(photos):
    before = photos[0].copy()
    for seed in range(5):
        np.random.seed(seed)
        ColorJitter(prob=1.).transform(dict(img=photos[0]))
    np.testing.assert_array_equal(photos[0], before)


@pytest.mark.parametrize('wrong', [dict(brightness=-1), dict(hue=0.6)])
def test_rejects_strengths_out_of_bounds(wrong):
    with pytest.raises(ValueError, match='hue at most 0.5'):
        ColorJitter(**wrong)
