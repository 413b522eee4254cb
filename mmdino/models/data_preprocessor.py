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

    The number of channels is checked. Otherwise a grey image would be
    broadcast silently against three means, and four channels would fail with
    an unrelated message.

    Args:
        mean: Mean of each channel, in the range of the images (0 to 255).
        std: Standard deviation of each channel, in the same range.
        channels_last: Return images in ``torch.channels_last`` memory format.
            The results are the same; on CPUs, convolutional networks take
            about 20% less time.
        **kwargs: mmpretrain's other arguments, such as ``bgr_to_rgb``.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length, or
            ``bgr_to_rgb`` is set and the number of channels is not three.
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
                f'bgr_to_rgb=True with {len(mean)} channels: only images of '
                'three channels can be converted. Set it to False in '
                'model.data_preprocessor.')
        # Registered here, because MMEngine's preprocessor accepts one or
        # three channels only.
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
                and optionally ``data_samples``.
            training: Leave the data samples on the host: copying each label
                would make the host wait for the device.

        Returns:
            ``inputs``, normalised float images in the same structure, and
            ``data_samples``.

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
        """Convert images (B, C, H, W) to normalised floats.

        The order of the channels is reversed if the config asks for it.
        """
        if self._channel_conversion:
            # Indexing with a list would copy the list from the host.
            images = images.flip(1)
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
