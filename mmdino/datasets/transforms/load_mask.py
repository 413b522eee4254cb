"""The mask of an image's objects."""
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Read a PNG of numbers, with a palette or grey, as it is.

    It becomes ``gt_mask`` (H, W; uint8): 0 for the background, then one
    number an object, and whatever stands for void. It is not resized with the
    image.

    Raises:
        ValueError: If the file is no image of numbers.
    """

    def transform(self, results: dict) -> dict:
        """Read the file of ``mask_path``."""
        path = results['mask_path']
        with Image.open(path) as image:
            if image.mode not in ('P', 'L'):
                raise ValueError(
                    f'{path} has the mode {image.mode}, but a mask holds '
                    'numbers: a PNG with a palette (P) or grey (L).')
            results['gt_mask'] = np.array(image)
        return results
