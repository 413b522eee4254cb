"""What stands where a network does: raw pixels and saved features."""
from typing import List, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class PixelFeatures(BaseModel):
    """Flattened normalised pixels, without any parameter.

    It stands where a network does, so that the same loop, pipeline and metric
    score raw pixels. All images need one size.

    Args:
        size: Pixels a side to which images are average-pooled first; None
            keeps every pixel.
        data_preprocessor: As for any model.
    """

    is_frozen = True

    def __init__(self,
                 size: Optional[int] = None,
                 data_preprocessor: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.size = size

    def forward(self,
                inputs: Union[Tensor, List[Tensor]],
                data_samples: Optional[List[DataSample]] = None,
                mode: str = 'tensor') -> Union[Tensor, List[DataSample]]:
        """Features (B, D), or the samples with them.

        Args:
            inputs: (B, C, h, w) images, or a list of views of which the first
                is taken.
            data_samples: The samples to which 'predict' adds ``feature``.
            mode: 'tensor' or 'predict'.
        """
        images = inputs if isinstance(inputs, Tensor) else inputs[0]
        if self.size is not None:
            images = F.adaptive_avg_pool2d(images, self.size)
        features = images.flatten(1)
        if mode == 'tensor':
            return features
        if mode != 'predict':
            raise ValueError(f'PixelFeatures has no mode {mode!r}: it cannot '
                             'be trained, only scored.')
        samples = data_samples or [DataSample() for _ in features]
        for sample, feature in zip(samples, features):
            sample.set_field(feature, 'feature', dtype=torch.Tensor)
        return samples


@MODELS.register_module()
class SavedFeatures(BaseModel):
    """Passes on the rows of :class:`FeatureRows`."""

    is_frozen = True

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[List[DataSample]] = None,
                mode: str = 'tensor') -> Union[Tensor, List[DataSample]]:
        """The features (B, D) themselves, or the samples with them.

        Args:
            inputs: (B, D) features.
            data_samples: The samples to which 'predict' adds ``feature``.
            mode: 'tensor' or 'predict'.
        """
        if mode == 'tensor':
            return inputs
        if mode != 'predict':
            raise ValueError(f'SavedFeatures has no mode {mode!r}: it cannot '
                             'be trained, only scored.')
        for sample, feature in zip(data_samples, inputs):
            sample.set_field(feature, 'feature', dtype=torch.Tensor)
        return data_samples
