"""Normalisation of uint8 crops on the device."""
from collections.abc import Sequence

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class MultiViewDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's preprocessor for a list of views, of any number of
    channels.

    Without the check a grey image is silently broadcast against the three
    means and four channels fail with an unrelated message.

    Args:
        mean: One number a channel.
        std: As many.
        channels_last: Give the images with the channels of a pixel side by
            side in memory. Convolutional networks then compute the same on a
            CPU in four fifths of the time.
        **kwargs: mmpretrain's other arguments, such as ``bgr_to_rgb``.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length, or channels
            that are not three are to change places.
    """

    def __init__(self,
                 mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None,
                 channels_last: bool = False,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.memory_format = (
            torch.channels_last if channels_last else torch.contiguous_format)
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
        """Move a batch to the device and normalise it.

        The host does not wait for the device.

        Args:
            data: ``inputs``, one tensor (B, C, H, W) or a list of V of them,
                and ``data_samples``.
            training: Labels then stay where they are: a copy of each would
                wait for the device.

        Raises:
            ValueError: If the number of channels is not that of ``mean``.
        """
        inputs, samples = data['inputs'], data.get('data_samples')
        self._check_channels(inputs)
        inputs = self.cast_data(inputs)
        if isinstance(inputs, (list, tuple)):
            inputs = [self._normalise(view) for view in inputs]
        else:
            inputs = self._normalise(inputs)
        samples = samples if training else self.cast_data(samples)
        return dict(inputs=inputs, data_samples=samples)

    def _normalise(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) as floats, the channels turned if asked to."""
        if self._channel_conversion:
            images = images.flip(1)  # an index list would go by the host
        images = images.float()
        if self._enable_normalize:
            images = (images - self.mean) / self.std
        return images.contiguous(memory_format=self.memory_format)

    def _check_channels(self, inputs: Tensor | list | tuple) -> None:
        expected = len(self.mean) if self._enable_normalize else None
        for view in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
            if expected not in (None, view.shape[-3]):
                raise ValueError(
                    f'The data preprocessor normalises {expected} channels, '
                    f'got images of shape {tuple(view.shape)}. Load the '
                    f'images with {expected} channels or give mean and std '
                    f'for {view.shape[-3]}.')
