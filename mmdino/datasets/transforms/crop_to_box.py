"""The part of an image that is asked about."""
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CropToBox(BaseTransform):
    """Crop ``img`` to ``bbox``, (x1, y1, x2, y2) in pixels.

    Pillow's ``Image.crop``, as revisitop crops its queries: corners are
    rounded, and what lies outside the image is black.

    Raises:
        ValueError: If the box is empty.
    """

    def transform(self, results: dict) -> dict:
        box = [round(float(corner)) for corner in results['bbox']]
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f'{results.get("img_path", "The image")} has an '
                             f'empty box (x1, y1, x2, y2): {box}')
        results['img'] = np.array(Image.fromarray(results['img']).crop(box))
        results['img_shape'] = results['img'].shape[:2]
        return results
