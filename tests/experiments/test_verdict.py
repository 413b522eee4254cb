import pytest

from mmdino.experiments.verdict import error_of, verdict

OWN = dict(queries=600, images=2400, epochs=20, size=64)


def test_below_raw_pixels_is_said_with_causes_and_what_to_do():
    text = verdict(29.6, 43.8, 25.1, **OWN)
    assert 'raw pixels (43.8): 14.2 points worse' in text
    assert 'the untrained network (25.1): hardly better' in text
    assert 'has not improved the features' in text
    assert '2,400 images are few' in text and '48,000 samples' in text
    assert 'views of 64 px' in text and '--weights FILE_OR_NAME' in text


def test_better_than_both_is_said():
    text = verdict(60., 43.8, 25.1, **OWN)
    assert 'raw pixels (43.8): 16.2 points better' in text
    assert 'has improved the features' in text and 'reasons' not in text


def test_a_difference_within_the_error_is_none():
    assert error_of(50., 100) == pytest.approx(5.)
    text = verdict(46., 43.8, 25.1, **OWN)
    assert 'raw pixels (43.8): hardly better' in text
    assert 'has not improved' in text
    assert (
        'has improved on the untrained network but has not improved on raw '
        'pixels.') in text


def test_without_classes_the_pictures_are_to_judge():
    text = verdict(None, None, None, **OWN)
    assert text.startswith('Without classes') and 'nearest.png' in text


def test_enough_images_are_no_cause():
    enough = dict(queries=600, images=100000, epochs=20, size=224)
    assert 'Why' not in verdict(20., 43.8, 25.1, **enough)
    assert '--data DIR' in verdict(20., 3., 5., **enough, own_data=False)
