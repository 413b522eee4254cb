"""From images to one feature vector each, for any backbone and neck."""
import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn as nn
from mmengine.utils import to_2tuple
from torch import Tensor


def embed(network: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Run a backbone and, if there is one, a neck.

    Args:
        network (Mapping[str, nn.Module]): ``backbone`` and perhaps ``neck``.
        images (Tensor): Shape (B, C, H, W).

    Returns:
        Tensor: The last output, shape (B, D).

    Raises:
        ValueError: If the result is not one vector an image.
    """
    out = network['backbone'](images)
    if 'neck' in network:
        out = network['neck'](out)
    if isinstance(out, (tuple, list)):
        out = out[-1]
    if out.ndim != 2:
        raise ValueError(
            'DINO needs one feature vector an image, (B, D), but '
            f'{type(network["backbone"]).__name__} yields {tuple(out.shape)}. '
            "Pool it with neck=dict(type='mmpretrain.GlobalAveragePooling') "
            "or, for a ViT, out_type='cls_token'.")
    return out


def embedding_width(network: Mapping[str, nn.Module],
                    extract: Callable = embed,
                    channels: int = 3) -> int:
    """Infer the width D of the features by a run on one empty image.

    On the meta device, which computes nothing; on the CPU where the network
    needs values, such as ``tensor.item()``.

    Args:
        network (Mapping[str, nn.Module]): ``backbone`` and perhaps ``neck``.
        extract (Callable): From the network and images to features (B, D).
        channels (int): Of the images, as the data preprocessor gives them.

    Raises:
        ValueError: If the network fails on such an image, or yields no
            vector.
    """
    size = to_2tuple(getattr(network['backbone'], 'img_size', 224))
    shape = (1, channels, *size)
    failures = (RuntimeError, TypeError, ValueError)
    try:
        return _width(network, extract, shape, 'meta')
    except failures:
        pass
    try:
        return _width(network, extract, shape, 'cpu')
    except failures as error:
        names = ' and '.join(type(part).__name__ for part in network.values())
        raise ValueError(
            f'{names} failed on images of shape {shape}: {error} Check that '
            'in_channels of the backbone is the number of channels that the '
            'data preprocessor gives, and that a neck is there for maps '
            'only.') from error


def _width(network: Mapping[str, nn.Module], extract: Callable,
           shape: tuple[int, ...], device: str) -> int:
    """D of a copy of the network on ``device``."""
    network = nn.ModuleDict(copy.deepcopy(dict(network))).to(device)
    network.eval()
    with torch.no_grad():
        return extract(network, torch.zeros(shape, device=device)).shape[1]
