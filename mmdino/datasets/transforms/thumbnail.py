"""Images no longer than a size, as Pillow's thumbnails."""
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Thumbnail(BaseTransform):
    """Shrink ``img`` so that its long side is at most ``size``.

    Pillow's ``Image.thumbnail`` with Lanczos, as the authors prepare images
    for retrieval: the aspect is kept and small images are not enlarged.

    Args:
        size (int): Longest side in pixels.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1 px, got {size}')
        self.size = size

    def transform(self, results: dict) -> dict:
        image = Image.fromarray(results['img'])
        image.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        results['img'] = np.array(image)
        results['img_shape'] = results['img'].shape[:2]
        return results
