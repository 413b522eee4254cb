"""Features that were computed before, where a network is expected."""
from typing import List, Optional, Union

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class SavedFeatures(BaseModel):
    """Passes on the rows of :class:`FeatureRows`.

    It has no parameters and thus nothing to wrap for distributed runs: use
    it in one process.
    """

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
