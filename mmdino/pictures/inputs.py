"""Images as a network takes them, and as figures show them."""
import numpy as np
from torch import Tensor

from mmdino.datasets.transforms.formatting import WholeView, to_planes
from mmdino.models import FrozenTeacher


def network_input(model: FrozenTeacher, image: np.ndarray,
                  size: int | None) -> Tensor:
    """Return a whole image as a normalised batch of one, (1, C, h, w).

    Args:
        model: The network, which has patches of one size.
        image: (H, W, C) in the order of LoadImage, of the network's channels.
        size: Short side in pixels, see :class:`.WholeView`.
    """
    view = WholeView(size, model.backbone.patch_size)
    inputs = to_planes(view(dict(img=image))['img'])[None]
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=[]))
    return data['inputs']


def as_colour(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) as (H, W, 3): grey is repeated.

    Raises:
        ValueError: If the image has neither one nor three channels.
    """
    channels = image.shape[2]
    if channels not in (1, 3):
        raise ValueError(f'Images of {channels} channels cannot be drawn: '
                         'only those of one or three channels.')
    return image if channels == 3 else np.repeat(image, 3, axis=2)
