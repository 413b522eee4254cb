"""An HTML page to explore images by a network's features and attention.

Letters: (h, w) the patch grid, (H', W') pixels, D features of a patch, D'
features of an image, H heads.
"""
import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdino.functional.dense import principal_components
from mmdino.pictures.dense import PatchColours
from mmdino.weights.io import replaced

WIDTH = 64  # largest width of the patch features on the page
LONG_SIDE = 448  # largest side of the images on the page, in pixels


class Seen(NamedTuple):
    """An image with its features and attention.

    Attributes:
        name: Name shown below the image.
        image: (H', W', 3) uint8 RGB.
        patches: (h, w, D), features of the patches.
        feature: (D', ), feature of the whole image.
        attention: (H, h, w), attention of the class token; None if the network
            gives none.
    """
    name: str
    image: np.ndarray
    patches: Tensor
    feature: Tensor
    attention: Tensor | None = None


def write_page(pictures: Sequence[Seen],
               out: str | Path,
               title: str = 'Pictures through a network') -> int:
    """Write the page, a single file.

    A click on a patch highlights similar patches in all images and shows the
    most similar images below. Layers show principal components and attention.
    The similarity of patches is the cosine of their features after subtracting
    the mean, compressed to 64 principal components of 8 bits.

    Args:
        pictures: The images, at least one.
        out: The .html file to write.
        title: Title of the page.

    Returns:
        Size of the file in bytes.

    Raises:
        ValueError: If there is no image, or too few patches.
    """
    if not pictures:
        raise ValueError('There is no picture to explore.')
    every = torch.cat([p.patches.flatten(0, 1) for p in pictures]).double()
    width = min(WIDTH, every.shape[1], len(every) - 1)
    components = principal_components(every, width)
    colours = PatchColours([p.patches for p in pictures])
    attention = [p.attention for p in pictures if p.attention is not None]
    features = torch.stack([p.feature for p in pictures]).double()
    features = features - features.mean(dim=0)
    data = dict(
        width=width,
        featureWidth=features.shape[1],
        heads=attention[0].shape[0] if attention else 0,
        pictures=[
            dict(
                name=p.name,
                jpeg=_jpeg(p.image),
                rows=p.patches.shape[0],
                columns=p.patches.shape[1],
                patches=_text(
                    _quantise(components.project(p.patches.double()))),
                feature=_text(_quantise(feature)),
                colours=_text(colours(p.patches)),
                attention=None if p.attention is None else _text(
                    _brightness(p.attention)))
            for p, feature in zip(pictures, features)
        ])
    page = files('mmdino.pictures').joinpath('explore.html').read_text('utf-8')
    page = page.replace('__TITLE__', html.escape(title))
    # A name with </script> would end the script otherwise.
    page = page.replace('__DATA__', json.dumps(data).replace('<', '\\u003c'))
    with replaced(str(out)) as part:
        Path(part).write_text(page, 'utf-8')
    return Path(out).stat().st_size


def _quantise(vectors: Tensor) -> np.ndarray:
    """Scale vectors to 8 bits each; only their direction is kept."""
    largest = vectors.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    return (127 * vectors / largest).round().to(torch.int8).numpy()


def _brightness(attention: Tensor) -> np.ndarray:
    """Scale each head's attention (H, h, w) to 0 to 255."""
    largest = attention.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return (255 * attention / largest).round().byte().numpy()


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def _jpeg(image: np.ndarray) -> str:
    """Encode an image as a data URL."""
    scale = min(1., LONG_SIDE / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(
            image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done = cv2.imencode('.jpg', image[..., ::-1],
                        [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return f'data:image/jpeg;base64,{_text(done)}'
