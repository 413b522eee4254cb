"""The interface of a checkpoint format.

A DINOv2-style ViT is one with registers, layer scale, SwiGLU or a mask token;
these are its parts.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log

from mmdino.weights.formats.ours import backbone_of
from mmdino.weights.infer import (LAYER_SCALE, MASK_TOKEN, REGISTERS,
                                  dinov2_parts)
from mmdino.weights.keys import StateDict


class Format(NamedTuple):
    """The conversions between a format and our state dict."""
    from_: Callable[[dict[str, Any]], StateDict]  # from a file's content
    to_: Callable[[StateDict], dict[str, Any]]  # to a file's content
    # Whether the names of tensors are those of this format.
    matches: Callable[[Mapping[str, Any]], bool]
    # Families of networks that the library has, see mmdino.weights.infer.
    places: Sequence[str]
    # Prefixes of tensors of classifiers, which are left out.
    classifier: Sequence[str] = ()
    # How the library resizes position embeddings: without, with registers.
    pos_embed_modes: tuple[str, str] = ('size', 'size')
    # Reads what the library's config files in a folder say of a network.
    read_config: Callable[[str], dict] = lambda folder: {}
    # Parts that the library's DINOv2-style ViTs may have.
    parts: Sequence[str] = ()
    # Whether the library's ViT with the given parts has a mask token: True,
    # False, or None if both are possible.
    mask_token: Callable[[Sequence[str]], bool | None] = lambda parts: False
    # Whether a ViT with any of the parts must have layer scale.
    needs_layer_scale: bool = False

    def has_place(self, kind: str | None, parts: Sequence[str]) -> bool:
        """Return whether the library has networks of this kind.

        Args:
            kind: A family, see :func:`.family`.
            parts: Parts of a DINOv2-style ViT.
        """
        parts = {*parts} - {MASK_TOKEN}
        lacks_scale = self.needs_layer_scale and LAYER_SCALE not in parts
        return (kind in self.places and parts <= {*self.parts}
                and not (parts and lacks_scale))

    def pos_embed_mode(self, parts: Sequence[str]) -> str:
        """Return how the library resizes position embeddings of a ViT."""
        return self.pos_embed_modes[REGISTERS in parts]


def adapt_mask_token(state: StateDict, network: dict | None, name: str,
                     format_: Format) -> tuple[StateDict, dict | None]:
    """Add or remove a mask token, as the format requires.

    The features do not depend on it. The log says what was done.

    Args:
        state: State dict of a checkpoint of ours.
        network: Its network config, if known.
        name: Name of the target format.
        format_: The target format.

    Returns:
        The state dict and the network config, changed if necessary.
    """
    backbone = backbone_of(state)
    parts = dinov2_parts(backbone)
    kind = 'dinov2' if {*parts} - {MASK_TOKEN} else 'vit'
    wanted = format_.mask_token(parts)
    if not parts or wanted in (None, MASK_TOKEN in parts) or (
            not format_.has_place(kind, parts)):
        return state, network
    names = [key for key in state if key.endswith('backbone.cls_token')]
    state = dict(state)
    for cls_token in names:
        mask_token = cls_token.replace('cls_token', 'mask_token')
        if wanted:
            state[mask_token] = torch.zeros_like(state[cls_token][0])
        else:
            state.pop(mask_token, None)
    print_log(
        f'{name} needs a mask token, which the network does not have: zeros '
        'are written. The features do not depend on it.' if wanted else
        f'{name} has no place for the mask token: it is left out. The '
        'features do not depend on it.',
        logger='current')
    if network:
        backbone = dict(network['backbone'], with_mask_token=wanted)
        if not wanted:
            del backbone['with_mask_token']
        network = dict(network, backbone=backbone)
    return state, network
