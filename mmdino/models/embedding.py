"""Features of images from any backbone and neck."""
import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
import torch.nn as nn
from mmengine.utils import to_2tuple
from mmpretrain.structures import DataSample
from torch import Tensor


def embed(network: Mapping[str, nn.Module], images: Tensor) -> Tensor:
    """Compute one feature vector (B, D) an image, the last output.

    Args:
        network: The modules ``backbone`` and, optionally, ``neck``.
        images: Shape (B, C, H, W).

    Raises:
        ValueError: If the network does not give one vector for each image.
    """
    out = network['backbone'](images)
    if 'neck' in network:
        out = network['neck'](out)
    if isinstance(out, (tuple, list)):
        out = out[-1]
    if out.ndim != 2:
        raise ValueError(
            'DINO needs one feature vector for each image, (B, D), but '
            f'{type(network["backbone"]).__name__} yields {tuple(out.shape)}. '
            "Pool it with neck=dict(type='mmpretrain.GlobalAveragePooling') "
            "or, for a ViT, out_type='cls_token'.")
    return out


def write_features(samples: list[DataSample],
                   extract: Callable[[Tensor], Tensor],
                   images: Tensor,
                   attention_of: nn.Module | None = None) -> list[DataSample]:
    """Write the features of images into their data samples.

    Args:
        samples: One for each image.
        extract: Computes features (B, D) of the images.
        images: Shape (B, C, H, W).
        attention_of: The backbone that ``extract`` runs, to write its class
            token's attention as well.

    Returns:
        The samples with ``feature`` (D, ) and, with ``attention_of``,
        ``attention`` (heads, h, w) over the (h, w) patch grid.
    """
    recording = (
        attention_of.recorded_attention() if attention_of else nullcontext())
    with recording as maps:
        outputs = dict(feature=extract(images))
    if maps:
        outputs['attention'] = maps[0]
    for name, values in outputs.items():
        for sample, value in zip(samples, values):
            sample.set_field(value, name)
    return samples


def embedding_width(network: Mapping[str, nn.Module],
                    extract: Callable = embed,
                    channels: int = 3) -> int:
    """Infer the width D of the features from a pass of one empty image.

    The pass runs on the meta device, which computes nothing, or on the CPU if
    the network needs values, for example by ``tensor.item()``.

    Args:
        network: The modules that ``extract`` runs.
        extract: Computes features (B, D) of a network and images.
        channels: Number of channels that the data preprocessor gives.

    Raises:
        ValueError: If the network fails on such an image.
    """
    size = to_2tuple(getattr(network['backbone'], 'img_size', 224))
    shape = (1, channels, *size)
    for device in ('meta', 'cpu'):
        try:
            copied = nn.ModuleDict(copy.deepcopy(dict(network))).to(device)
            with torch.no_grad():
                images = torch.zeros(shape, device=device)
                return extract(copied.eval(), images).shape[1]
        except (RuntimeError, TypeError, ValueError) as error:
            cause = error
    names = ' and '.join(type(part).__name__ for part in network.values())
    raise ValueError(
        f'{names} failed on images of shape {shape}: {cause} Check that '
        'in_channels of the backbone is the number of channels that the '
        'data preprocessor gives, and that a neck is set only if the '
        'backbone yields maps.') from cause


def class_and_patches(network: Mapping[str, nn.Module],
                      images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Compute features of images (B, D) and of their patches (B, E, h, w).

    For a ViT these are the class token and the patch tokens, through the
    final norm. For a backbone with a neck they are the output of the neck and
    the map that it pools. Other networks have no features of patches.

    Args:
        network: The modules ``backbone`` and, optionally, ``neck``.
        images: Shape (B, C, H, W).

    Returns:
        Features (B, D), and (B, E, h, w) of the patches or None.
    """
    backbone = network['backbone']
    if _gives_tokens(backbone):
        tokens = backbone(images, out_type='raw')[-1]
        patches = tokens[:, backbone.num_extra_tokens:]
        grid = backbone.patch_grid(images)
        return tokens[:, 0], patches.mT.unflatten(2, grid)
    if 'neck' not in network:
        return embed(network, images), None
    maps = backbone(images)
    last = maps[-1] if isinstance(maps, (tuple, list)) else maps
    pooled = embed(dict(backbone=lambda _: maps, neck=network['neck']), images)
    return pooled, last if last.ndim == 4 else None


def require_patches(network: Mapping[str, nn.Module],
                    images: Tensor) -> Tensor:
    """Return the patches (B, E, h, w) of :func:`class_and_patches`.

    Raises:
        ValueError: If the network gives none.
    """
    patches = class_and_patches(network, images)[1]
    if patches is None:
        raise ValueError(
            f'{type(network["backbone"]).__name__} gives no features of '
            'patches: it has no patch tokens, and there is no neck, which '
            'would show that it yields maps.')
    return patches


def _gives_tokens(backbone: nn.Module) -> bool:
    """Return whether a backbone has tokens of patches in a grid."""
    try:
        return backbone.num_extra_tokens > 0 and hasattr(
            backbone, 'patch_grid')
    except (AttributeError, ValueError):
        return False
