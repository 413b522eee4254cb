"""From images to features and attention."""
from typing import Iterator, List, Optional, Union

import numpy as np
import torch
from matplotlib.figure import Figure
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.apis.images import Images, Preparation, list_images
from mmdino.apis.models import get_model
from mmdino.models import DINO
from mmdino.pictures.attention import draw_attention
from mmdino.utils.progress import track


class FeatureExtractor:
    """The teacher's features, D an image.

    Args:
        model: A model, or what :func:`get_model` makes one of.
        checkpoint: As in :func:`get_model`.
        device: As in :func:`get_model`; of a model, its own.
        batch_size: Images at once.

    Example:
        >>> extract = FeatureExtractor('dino_vit-s16')
        >>> extract(['a.jpg', 'b.jpg']).shape
        torch.Size([2, 384])
    """

    def __init__(self,
                 model: Union[str, DINO],
                 checkpoint: Optional[str] = None,
                 device: Optional[str] = None,
                 batch_size: int = 32) -> None:
        if isinstance(model, str):
            model = get_model(model, checkpoint, device)
        self.model = model
        self.batch_size = batch_size
        self.prepare = Preparation(model)

    def __call__(self, images: Images) -> Tensor:
        """Extract features, with the progress in the log.

        Args:
            images: Whatever :func:`list_images` takes; the features are in
                the order that it gives.

        Returns:
            Tensor: Shape (B, D), float32, on the CPU.
        """
        samples = self.predict(list_images(images))
        return torch.stack([s.feature.float().cpu() for s in samples])

    def predict(self, images: list) -> List[DataSample]:
        """What the model predicts, an image each."""
        batches = list(self._batches(images))
        return [
            sample for batch in track(batches, 'images')
            for sample in self.model.test_step(self.prepare(batch))
        ]

    def _batches(self, images: list) -> Iterator[list]:
        for start in range(0, len(images), self.batch_size):
            yield images[start:start + self.batch_size]


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
