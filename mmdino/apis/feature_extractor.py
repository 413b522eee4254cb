"""From images to features."""
from typing import Iterator, List, Optional, Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.models import DINO
from mmdino.progress import track
from .images import Images, Preparation, list_images
from .model import get_model


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
