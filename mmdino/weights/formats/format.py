"""The interface of a checkpoint format.

A ViT of DINOv2's kind has registers, layer scale, a SwiGLU or a mask token.
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
    from_: Callable[[dict[str, Any]], StateDict]
    to_: Callable[[StateDict], dict[str, Any]]
    matches: Callable[[Mapping[str, Any]], bool]  # by the names
    places: Sequence[str]  # families of networks that the library has
    classifier: Sequence[str] = ()  # prefixes of what no use of ours needs
    # How position embeddings are resized, without and with registers.
    pos_embed_modes: tuple[str, str] = ('size', 'size')
    # What its own files in a folder tell of a network.
    read_config: Callable[[str], dict] = lambda folder: {}
    parts: Sequence[str] = ()  # of a ViT of DINOv2's kind that it may have
    # Whether such a ViT has a mask token, given its parts: True, False or
    # None, as it likes.
    mask_token: Callable[[Sequence[str]], bool | None] = lambda parts: False
    needs_layer_scale: bool = False  # where it has other parts

    def has_place(self, kind: str | None, parts: Sequence[str]) -> bool:
        """Return whether the library has networks of this kind.

        Args:
            kind: A family, see :func:`.family`.
            parts: Of a ViT of DINOv2's kind.
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

    No feature depends on it; the log says what was done.

    Args:
        state: Of a checkpoint of ours.
        network: Its network config, if it is told.
        name: Of the format.
        format_: What is to be converted to.
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
        f'{name} needs a mask token, which the network has not: it is written '
        'as zeros. No feature depends on it.' if wanted else
        f'{name} has no place for the mask token: it is left out. No feature '
        'depends on it.',
        logger='current')
    if network:
        backbone = dict(network['backbone'], with_mask_token=wanted)
        if not wanted:
            del backbone['with_mask_token']
        network = dict(network, backbone=backbone)
    return state, network
