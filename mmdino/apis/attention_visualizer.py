"""What the class token of a ViT looks at."""
from typing import List, Optional, Union

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmdino.models import DINO
from mmdino.visualization import draw_attention
from .feature_extractor import FeatureExtractor
from .images import Images, list_images


class AttentionVisualizer(FeatureExtractor):
    """The teacher's last-block attention, as maps and as a picture.

    The arguments are those of :class:`FeatureExtractor`.

    Raises:
        ValueError: If the model is no VisionTransformer.
    """

    def __init__(self,
                 model: Union[str, DINO],
                 checkpoint: Optional[str] = None,
                 device: Optional[str] = None,
                 batch_size: int = 32) -> None:
        super().__init__(model, checkpoint, device, batch_size)
        backbone = self.model.teacher.backbone
        if not hasattr(backbone, 'class_attention'):
            raise ValueError(
                f'{type(backbone).__name__} has no class token to look '
                'through: take a ViT.')
        self.model.predict_attention = True

    def __call__(self, images: Images) -> List[Tensor]:
        """Give the attention of each image.

        Returns:
            list[Tensor]: Shape (H, h, w) each: H heads, h x w patches of the
            image as the config's test pipeline cuts it.
        """
        samples = self.predict(list_images(images))
        return [sample.attention.cpu() for sample in samples]

    def draw(self, images: Images, out: Optional[str] = None) -> Figure:
        """Draw a row of maps an image.

        Args:
            images: Whatever :func:`list_images` takes.
            out: Where to save the picture.
        """
        listed = list_images(images)
        inputs = self.prepare(listed)['inputs']
        pictures: List[np.ndarray] = [
            bgr.flip(0).permute(1, 2, 0).numpy() for bgr in inputs
        ]
        return draw_attention(pictures, self(listed), out=out)
