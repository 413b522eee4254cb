"""Photo-like images and the Pillow formulation of each augmentation."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torchvision.transforms.functional as TF
from PIL import Image, ImageEnhance, ImageFilter, ImageOps


def make_photo(seed: int, height: int, width: int) -> np.ndarray:
    """Shades on three scales, an edge and sensor noise, BGR."""
    rng = np.random.default_rng(seed)
    photo = np.zeros((height, width, 3))
    for cells, strength in ((3, 1.), (12, 0.4), (48, 0.2)):
        shades = rng.standard_normal((cells, cells, 3))
        photo += strength * cv2.resize(shades, (width, height))
    photo[:, rng.integers(width):] += rng.standard_normal(3)
    photo = 127 + 60 * photo + 4 * rng.standard_normal(photo.shape)
    return photo.clip(0, 255).astype(np.uint8)


def _on_pillow(operation):
    """An operation on Pillow images as one on BGR arrays."""

    def operate(img: np.ndarray, *args) -> np.ndarray:
        image = operation(Image.fromarray(img[..., ::-1]), *args)
        return np.array(image.convert('RGB'))[..., ::-1].copy()

    return operate


@pytest.fixture(scope='session')
def photos() -> list[np.ndarray]:
    return [make_photo(seed, 150 + 30 * seed, 200) for seed in range(4)]


@pytest.fixture(scope='session')
def pillow() -> SimpleNamespace:
    """Our functions' names -> the same on Pillow."""
    operations = dict(
        adjust_brightness=lambda im, f: ImageEnhance.Brightness(im).enhance(f),
        adjust_contrast=lambda im, f: ImageEnhance.Contrast(im).enhance(f),
        adjust_saturation=lambda im, f: ImageEnhance.Color(im).enhance(f),
        adjust_hue=TF.adjust_hue,
        to_gray=lambda im: im.convert('L'),
        gaussian_blur=lambda im, r: im.filter(ImageFilter.GaussianBlur(r)),
        solarize=ImageOps.solarize,
        resize=lambda im, s: im.resize((s, s), Image.Resampling.BICUBIC))
    return SimpleNamespace(**{
        name: _on_pillow(op)
        for name, op in operations.items()
    })


@pytest.fixture(scope='session')
def distance():
    """Mean absolute difference of two images in levels of 255."""
    return lambda a, b: np.abs(a.astype(float) - b.astype(float)).mean()
