"""Images as users have them."""
import os.path as osp
from pathlib import Path
from typing import Iterable, List, Sequence, Union

import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import default_collate
from PIL import Image

from mmdino.datasets.listing import list_folder
from mmdino.datasets.transforms import build_steps
from mmdino.models import DINO

ImageLike = Union[str, Path, Image.Image, np.ndarray]
Images = Union[ImageLike, Sequence[ImageLike]]


def list_images(images: Images) -> List[ImageLike]:
    """One list of what a user gave.

    Args:
        images: One or a list of: a path, a URL, a folder, which stands for
            the images anywhere below it, sorted; a PIL image; an array
            (H, W, 3) uint8 in RGB.

    Raises:
        FileNotFoundError: If a path does not exist.
        TypeError: If it is something else.
        ValueError: If there is none, or an array is of another shape.
    """
    if isinstance(images, (str, Path, Image.Image, np.ndarray)):
        images = [images]
    listed = [image for item in images for image in _expand(item)]
    if not listed:
        raise ValueError(f'There is no image in {images}.')
    return listed


class Preparation:
    """The test pipeline of a model's config, for images of all kinds.

    Args:
        model: As :func:`.get_model` gives it.
    """

    def __init__(self, model: DINO) -> None:
        steps = model.cfg.test_dataloader.dataset.pipeline
        self.load = build_steps(steps[:1])
        self.rest: Compose = build_steps(steps[1:])

    def __call__(self, images: Iterable[ImageLike]) -> dict:
        """A batch for ``test_step``: inputs (B, 3, H, W), data samples."""
        return default_collate(
            [self.rest(self._read(image)) for image in images])

    def _read(self, image: ImageLike) -> dict:
        if isinstance(image, (str, Path)):
            return self.load(dict(img_path=str(image)))
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert('RGB'))
        shape = image.shape[:2]
        bgr = np.ascontiguousarray(image[..., ::-1])
        return dict(img=bgr, img_shape=shape, ori_shape=shape)


def _expand(image: ImageLike) -> List[ImageLike]:
    if isinstance(image, Image.Image):
        return [image]
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                'An array must be (H, W, 3) uint8 in RGB, got '
                f'{image.shape} {image.dtype}. Give several as a list.')
        return [image]
    if not isinstance(image, (str, Path)):
        raise TypeError('An image is a path, a URL, a PIL image or an array, '
                        f'got {type(image).__name__}.')
    path = str(image)
    if osp.isdir(path):
        return [osp.join(path, name) for name in list_folder(path)]
    if '://' not in path and not osp.isfile(path):
        raise FileNotFoundError(f'There is no image {path!r}.')
    return [path]
