"""Conversion of checkpoint files between formats."""
import json
import os.path as osp
from collections.abc import Sequence
from typing import NamedTuple

from mmengine.logging import print_log

import mmdino
from mmdino.weights.formats import FORMATS, adapt, from_ours, select
from mmdino.weights.formats.hf import FILE, configs
from mmdino.weights.formats.ours import is_linear, with_network
from mmdino.weights.infer import build_empty, dinov2_parts, kind_of
from mmdino.weights.io import check_ending, replaced, save_checkpoint
from mmdino.weights.network import Weights, open_weights, resolve_network


class Conversion(NamedTuple):
    """What a conversion did."""
    source: Weights  # the file that was read; ``state`` is what was converted
    network: dict | None  # its config; None for a lone linear classifier
    target: str  # format of the file that was written, a key of ``FORMATS``
    path: str  # of the file that was written
    which: str  # the network of a full checkpoint, 'teacher' or 'student'


def convert_file(source_path: str,
                 target_path: str,
                 source: str | None,
                 target: str,
                 which: str | None = None,
                 drop: Sequence[str] = (),
                 num_heads: int | None = None,
                 backbone: str | None = None,
                 given: dict | None = None) -> Conversion:
    """Convert a checkpoint file; on an error ``target_path`` is unchanged.

    A .pth file in the format 'mmdino' has ``meta`` and ``state_dict``, like
    those of MMEngine; in another format it is the plain state dict. A
    .safetensors file of any format has the network config in its metadata. In
    the format 'hf', config.json and preprocessor_config.json are written
    beside a target named model.safetensors.

    Args:
        source_path: File to read.
        target_path: File to write; .pth or .safetensors chooses the container.
        source: Format of ``source_path``, a key of ``FORMATS``; None
            recognises it by the names of the tensors.
        target: Format of ``target_path``, a key of ``FORMATS``.
        which: See :func:`.convert`.
        drop: See :func:`.convert`.
        num_heads: See :func:`.resolve_network`.
        backbone: Checkpoint in any format whose network is joined with a
            linear classifier in ``source_path``, so that the probe can be
            tested.
        given: See :func:`.resolve_network`.

    Raises:
        CheckpointError: As :func:`.convert` and :func:`.resolve_network`.
        FileNotFoundError: If there is no such file.
    """
    check_ending(target_path)
    weights = open_weights(source_path, source, drop, given)
    weights = weights._replace(state=select(weights.state, which))
    if backbone is not None:
        joined = open_weights(backbone)
        weights = weights._replace(
            state=with_network(weights.state, joined.state),
            network=joined.network)
    network = None
    if not is_linear(weights.state) or backbone is not None:
        network = resolve_network(weights, given, num_heads)
    state, told = adapt(weights.state, network, target)
    content = from_ours(state, target, told)
    if target == 'mmdino' or not target_path.endswith('.pth'):
        meta = dict(
            network=told,
            names=target,
            mmdino_version=mmdino.__version__,
            converted_from=osp.basename(source_path))
        content = dict(meta=meta, state_dict=content)
    save_checkpoint(content, target_path)
    if target == 'hf' and osp.basename(target_path) == FILE:
        for name, settings in configs(told).items():
            path = osp.join(osp.dirname(target_path), name)
            with replaced(path) as temporary, open(temporary, 'w') as file:
                json.dump(settings, file, indent=2)
    if network is not None:
        _say_differences(network, target)
    return Conversion(weights, network, target, target_path, which
                      or 'teacher')


def _say_differences(network: dict, target: str) -> None:
    """Log how the other library treats images differently."""
    ours, theirs = pos_embed_modes(network, target)
    if ours != theirs:
        print_log(
            f'{target} resizes position embeddings in another way ({theirs}) '
            f'than this network ({ours}): features are the same for images of '
            f'{build_empty(network["backbone"]).img_size[0]} px and differ at '
            'other sizes.',
            logger='current')
    if target == 'hf' and network['preprocessing']['channels'] == 'BGR':
        print_log(
            'The network needs images in BGR, which no image processor of '
            'transformers gives: reverse the order of the channels yourself.',
            logger='current')


def pos_embed_modes(network: dict, target: str) -> tuple:
    """Return how the network and a format resize position embeddings.

    Both are None for a network without position embeddings to resize. The
    format 'mmdino' stores the mode of the network, so that both are the same.
    """
    if kind_of(network)[0] not in ('vit', 'dinov2'):
        return None, None
    vit = build_empty(network['backbone'])
    ours = getattr(vit, 'pos_embed_mode', 'size')
    if target == 'mmdino':
        return ours, ours
    parts = dinov2_parts(vit.state_dict())
    return ours, FORMATS[target].pos_embed_mode(parts)
