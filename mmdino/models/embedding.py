"""From images to one feature vector each, for any backbone and neck."""
import copy
from typing import Callable, Mapping

import torch
import torch.nn as nn
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
    """Infer D by a run on the meta device, which computes nothing.

    Args:
        network (Mapping[str, nn.Module]): ``backbone`` and perhaps ``neck``.
        extract (Callable): From the network and images to features (B, D).
        channels (int): Of the images.
    """
    network = nn.ModuleDict(copy.deepcopy(dict(network))).to('meta')
    network.eval()
    backbone = network['backbone']
    size = getattr(backbone, 'img_size', (224, 224))
    with torch.no_grad():
        images = torch.zeros(1, channels, *size, device='meta')
        return extract(network, images).shape[1]
