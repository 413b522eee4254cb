"""Uint8 crops to normalised float tensors, on the device."""
from typing import Union

from mmpretrain.models import SelfSupDataPreprocessor

from mmdino.registry import MODELS


@MODELS.register_module()
class MultiViewDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's preprocessor that refuses a wrong number of channels.

    Without the check a grey image is silently broadcast against the three
    means and four channels fail with an unrelated message.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data (dict): ``inputs``, one tensor (B, C, H, W) or a list of V of
                them, and ``data_samples``.

        Raises:
            ValueError: If the number of channels is not that of ``mean``.
        """
        self._check_channels(data['inputs'])
        return super().forward(data, training)

    def _check_channels(self, inputs: Union[list, tuple]) -> None:
        expected = len(self.mean) if self._enable_normalize else None
        for view in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
            if expected not in (None, view.shape[-3]):
                raise ValueError(
                    f'The data preprocessor normalises {expected} channels, '
                    f'got images of shape {tuple(view.shape)}. Load the '
                    f'images with {expected} channels or give mean and std '
                    f'for {view.shape[-3]}.')
