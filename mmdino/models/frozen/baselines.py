"""Models without a network: raw pixels and saved features."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class SavedFeatures(BaseModel):
    """Return the rows (B, D) of :class:`FeatureRows` unchanged as features."""

    is_frozen = True

    def features(self, inputs: Tensor) -> Tensor:
        """Return the features (B, D) of the inputs."""
        return inputs

    def forward(self,
                inputs: Tensor | list[Tensor],
                data_samples: list[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor | list[DataSample]:
        """Run the mode ``tensor`` (:meth:`features`) or ``predict``.

        ``predict`` returns the data samples with ``feature`` (D, ).

        Raises:
            ValueError: If the mode is another one.
        """
        features = self.features(inputs)
        if mode == 'tensor':
            return features
        if mode != 'predict':
            raise ValueError(f'{type(self).__name__} has no mode {mode!r}: it '
                             'cannot be trained, only scored.')
        samples = data_samples or [DataSample() for _ in features]
        for sample, feature in zip(samples, features):
            sample.set_field(feature, 'feature', dtype=torch.Tensor)
        return samples


@MODELS.register_module()
class PixelFeatures(SavedFeatures):
    """Flattened normalised pixels as features, without any parameter.

    A baseline that the measures score in place of a network.

    Args:
        size: Larger images are average-pooled to this height and width in
            pixels first. None keeps every pixel; all images then need the
            same size.
        data_preprocessor: Config of the preprocessor.
    """

    def __init__(self,
                 size: int | None = None,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.size = size

    def features(self, inputs: Tensor | list[Tensor]) -> Tensor:
        """Flatten images (B, C, h, w), or the first of a list of views."""
        images = inputs if isinstance(inputs, Tensor) else inputs[0]
        if self.size is not None and max(images.shape[-2:]) > self.size:
            images = F.adaptive_avg_pool2d(images, self.size)
        return images.flatten(1)
