"""Models without a network: raw pixels and saved features."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class SavedFeatures(BaseModel):
    """Pass on the rows (B, D) of :class:`FeatureRows` as features."""

    is_frozen = True

    def features(self, inputs: Tensor) -> Tensor:
        """Return the features (B, D) of the inputs."""
        return inputs

    def forward(self,
                inputs: Tensor | list[Tensor],
                data_samples: list[DataSample] | None = None,
                mode: str = 'tensor') -> Tensor | list[DataSample]:
        """Run the mode ``tensor`` (:meth:`features`) or ``predict``.

        The latter adds ``feature`` (D, ) to the data samples.
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

    To score raw pixels in the place of a network.

    Args:
        size: Pixels a side to which larger images are average-pooled first;
            None keeps every pixel, and all images then need one size.
        data_preprocessor: As for any model.
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
