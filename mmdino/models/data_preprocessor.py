"""Uint8 crops to normalised float tensors, on the device."""
from collections.abc import Sequence

import torch
from mmpretrain.models import SelfSupDataPreprocessor

from mmdino.registry import MODELS


@MODELS.register_module()
class MultiViewDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's preprocessor for any number of channels, and only for it.

    Without the check a grey image is silently broadcast against the three
    means and four channels fail with an unrelated message.

    Args:
        mean (Sequence[float], optional): One number a channel.
        std (Sequence[float], optional): As many.
        **kwargs: mmpretrain's other arguments, such as ``bgr_to_rgb``.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length, or channels
            that are not three are to change places.
    """

    def __init__(self,
                 mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if mean is None and std is None:
            return
        if mean is None or std is None or len(mean) != len(std):
            raise ValueError('The data preprocessor needs a mean and a std '
                             f'for each channel, got {mean} and {std}.')
        if self._channel_conversion and len(mean) != 3:
            raise ValueError(
                f'bgr_to_rgb=True with {len(mean)} channels: only three can '
                'change places. Set it to False in model.data_preprocessor.')
        # MMEngine's takes one channel or three.
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            column = torch.tensor(
                values, dtype=torch.get_default_dtype()).view(-1, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data (dict): ``inputs``, one tensor (B, C, H, W) or a list of V of
                them, and ``data_samples``.

        Raises:
            ValueError: If the number of channels is not that of ``mean``.
        """
        inputs = data['inputs']
        expected = len(self.mean) if self._enable_normalize else None
        for view in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
            if expected not in (None, view.shape[-3]):
                raise ValueError(
                    f'The data preprocessor normalises {expected} channels, '
                    f'got images of shape {tuple(view.shape)}. Load the '
                    f'images with {expected} channels or give mean and std '
                    f'for {view.shape[-3]}.')
        return super().forward(data, training)
