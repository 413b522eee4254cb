"""Any number of channels, three types: the pixels that were there, or no."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.datasets import PackInputs
from PIL import Image

from mmdino.datasets.transforms import (CenterView, ColorJitter, CropToBox,
                                        GaussianBlur, HorizontalFlip,
                                        PackViews, RandomGrayscale,
                                        RandomResizedCrop, ResizeShortSide,
                                        Solarize, Thumbnail)
from mmdino.datasets.transforms.resizing import pillow_resize

LIGHT = dict(saturation=0., hue=0.)
MAKE = dict(
    crop=lambda: RandomResizedCrop(size=16, scale=(.05, 1.)),
    flip=lambda: HorizontalFlip(prob=1.),
    blur=lambda: GaussianBlur(prob=1.),
    solarize=lambda: Solarize(prob=1.),
    light=lambda: ColorJitter(prob=1., **LIGHT),
    jitter=lambda: ColorJitter(prob=1.),
    gray=lambda: RandomGrayscale(prob=1.),
    box=lambda: CropToBox(),
    short=lambda: ResizeShortSide(19),
    center=lambda: CenterView(16),
    thumbnail=lambda: Thumbnail(11))
COLOUR = ('jitter', 'gray')
LEVELS = dict(uint8=200, uint16=50123, float32=1234.567)
KEPT = ('crop', 'flip', 'blur', 'box', 'short', 'center', 'thumbnail')


def apply(name: str, img: np.ndarray, seed: int = 0) -> np.ndarray:
    np.random.seed(seed)
    return MAKE[name]()(dict(img=img, bbox=(3, 2, 20, 17)))['img']


@pytest.mark.parametrize('dtype', LEVELS)
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5, 10])
@pytest.mark.parametrize('name', MAKE)
def test_a_constant_stays_constant(name, channels, dtype):
    """Bit for bit; where levels change, to one other level."""
    img = np.full((40, 50, channels), LEVELS[dtype], dtype)
    colour = channels == 3 and dtype == 'uint8'
    if name in COLOUR and not colour or name == 'solarize' and (dtype
                                                                == 'float32'):
        kind = type(MAKE[name]()).__name__
        with pytest.raises(ValueError, match=f'^{kind} takes .*leave it out'):
            apply(name, img)
        return
    result = apply(name, img)
    assert result.ndim == 3 and result.shape[2] == channels
    assert result.dtype == img.dtype
    if name == 'jitter':
        assert (result == result[0, 0]).all()
        return
    assert len(np.unique(result)) == 1
    assert name not in KEPT or result.flat[0] == img.flat[0]


def leave_in_memory(value: int, channels: int, dtype: str) -> None:
    """Arrays that are freed at once, for the next ones to be found in."""
    for size in (16, 19, 30):
        np.full((size, size, channels), value, dtype)


IMAGES = st.tuples(
    st.sampled_from([1, 2, 3, 4, 5, 10]), st.sampled_from(sorted(LEVELS)),
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(IMAGES, st.sampled_from(sorted(set(MAKE) - {*COLOUR, 'solarize'})))
def test_no_transform_returns_memory_that_it_did_not_write(image, name):
    """The same twice, however memory was left, within what bicubic gives."""
    channels, dtype, height, width, seed = image
    rng = np.random.default_rng(seed)
    low, high = LEVELS[dtype] // 2, LEVELS[dtype]
    img = rng.uniform(low, high, (height, width, channels)).astype(dtype)
    kept = img.copy()
    leave_in_memory(77, channels, dtype)
    first = apply(name, img)
    leave_in_memory(11, channels, dtype)
    np.testing.assert_array_equal(apply(name, img), first)
    np.testing.assert_array_equal(img, kept)
    assert first.shape[2] == channels and first.dtype == img.dtype
    if name not in ('light', 'box'):
        margin = .6 * (high - low)  # bicubic goes beyond an edge
        assert first.min() >= low - margin and first.max() <= high + margin


@pytest.mark.parametrize('name', KEPT)
def test_channels_do_not_mix(name):
    """Each comes out as if it were alone, OpenCV's rounding aside."""
    rng = np.random.default_rng(0)
    for dtype in ('uint8', 'uint16', 'float32'):
        img = rng.integers(0, 256, (40, 50, 5)).astype(dtype)
        together = apply(name, img)
        for i in range(5):
            alone = apply(name, np.ascontiguousarray(img[..., i:i + 1]))
            np.testing.assert_allclose(
                together[..., i:i + 1], alone, atol=name == 'blur')


def test_four_channels_are_no_transparency():
    img = np.full((20, 20, 4), 200, np.uint8)
    img[:, :10, 3] = 0
    resized = pillow_resize(img, (10, 10))
    assert (resized[..., :3] == 200).all()


def test_colours_of_8_bits_are_resized_as_by_pillow(photos):
    for size in ((31, 64), (300, 280)):
        expected = Image.fromarray(photos[0]).resize(size,
                                                     Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(
            pillow_resize(photos[0], size), np.asarray(expected))


def test_16_bits_are_resized_as_finely_as_they_are():
    row = np.linspace(1000, 1100, 64).astype(np.uint16)
    img = np.tile(row[None, :, None], (8, 1, 1))
    resized = pillow_resize(img, (32, 8))
    assert len(np.unique(resized)) > 25
    assert abs(resized[0, 16, 0].astype(float) - 1050) < 3


@pytest.mark.parametrize('dtype', LEVELS)
@pytest.mark.parametrize('channels', [1, 4, 10])
def test_packing(channels, dtype):
    img = np.arange(6 * 5 * channels).reshape(6, 5, channels).astype(dtype)
    views = PackViews()(dict(img=[img, img]))['inputs']
    single = PackInputs()(dict(img=img))['inputs']
    for packed in (*views, single):
        np.testing.assert_array_equal(packed.numpy(), img.transpose(2, 0, 1))
        assert packed.numpy().dtype == dtype


def test_refusals_name_the_transform_and_the_remedy():
    five = np.zeros((4, 4, 5), np.uint8)
    with pytest.raises(ValueError, match='saturation and hue to 0'):
        ColorJitter(prob=1e-9)(dict(img=five))  # chance would spare it
    assert ColorJitter(prob=0.)(dict(img=five))['img'] is five
    with pytest.raises(ValueError, match=r'takes images \(H, W, C\).*\(4, 4'):
        GaussianBlur(prob=1.)(dict(img=five[..., 0]))
    with pytest.raises(ValueError, match='float64'):
        ResizeShortSide(4)(dict(img=np.zeros((4, 4, 1))))
