"""Converting files."""
import json
import os.path as osp
from typing import NamedTuple, Optional, Sequence

from mmengine.logging import print_log

import mmdino
from mmdino.weights.formats import FORMATS, from_ours, select
from mmdino.weights.formats.hf import FILE, configs
from mmdino.weights.formats.ours import is_linear, with_network
from mmdino.weights.infer import build_empty, kind_of
from mmdino.weights.io import check_ending, replaced, save_checkpoint
from mmdino.weights.network import Weights, open_weights, resolve_network


class Conversion(NamedTuple):
    """What was converted.

    Attributes:
        source: The file, its tensors under our names those that were chosen.
        network: Network config; None for a linear classifier alone.
        target: Format of what was written, a key of ``FORMATS``.
        path: Where.
        which: The network of a full checkpoint, 'teacher' or 'student'.
    """
    source: Weights
    network: Optional[dict]
    target: str
    path: str
    which: str


def convert_file(source_path: str,
                 target_path: str,
                 source: Optional[str],
                 target: str,
                 which: Optional[str] = None,
                 drop: Sequence[str] = (),
                 num_heads: Optional[int] = None,
                 backbone: Optional[str] = None,
                 given: Optional[dict] = None) -> Conversion:
    """Convert a file; on any error ``target_path`` stays as it was.

    Ours in .pth has ``meta`` beside the ``state_dict``, as MMEngine's; other
    libraries' is the plain state dict. A .safetensors file of any format has
    the network config in its metadata. For transformers a target named
    model.safetensors gets config.json and preprocessor_config.json beside it.

    Args:
        source_path: The file.
        target_path: Its ending, .pth or .safetensors, chooses the container.
        source: Format of the file, a key of ``FORMATS``; None to recognise it
            by its names.
        target: Format of the result.
        which: See :func:`.convert`.
        drop: Prefixes of tensors to leave out, such as 'fc.'.
        num_heads: Attention heads of a foreign ViT, which its tensors do not
            tell; needed where width and depth are not a published ViT's.
        backbone: Checkpoint of ours to join a linear classifier with, so
            that the probe can be tested.
        given: ``backbone`` and perhaps ``neck`` and ``data_preprocessor`` of
            a config, for a foreign file of a network that no tensor tells.

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
    tensors = from_ours(weights.state, target, network)
    meta = dict(
        network=network,
        names=target,
        mmdino_version=mmdino.__version__,
        converted_from=osp.basename(source_path))
    foreign_pth = target != 'mmdino' and target_path.endswith('.pth')
    save_checkpoint(
        tensors if foreign_pth else dict(meta=meta, state_dict=tensors),
        target_path)
    if target == 'hf' and osp.basename(target_path) == FILE:
        _write_beside(target_path, configs(network))
    if network is not None:
        _say_differences(network, target)
    return Conversion(weights, network, target, target_path, which
                      or 'teacher')


def _write_beside(path: str, contents: dict) -> None:
    for name, content in contents.items():
        place = osp.join(osp.dirname(path), name)
        with replaced(place) as temporary, open(temporary, 'w') as file:
            json.dump(content, file, indent=2)


def _say_differences(network: dict, target: str) -> None:
    """Say what the other library does to images in another way."""
    ours, theirs = pos_embed_modes(network, target)
    if ours != theirs:
        print_log(
            f'{target} resizes position embeddings in another way ({theirs}) '
            f'than this network ({ours}): features are the same at '
            f'{build_empty(network["backbone"]).img_size[0]} px, not at other '
            'sizes.',
            logger='current')
    if target == 'hf' and network['preprocessing']['channels'] == 'BGR':
        print_log(
            'The network takes images in BGR, which no processor of '
            'transformers gives: turn the channels.',
            logger='current')


def pos_embed_modes(network: dict, target: str) -> tuple:
    """How the network and a format resize position embeddings.

    Twice the same if there is no difference: ours keeps the network's mode,
    and only a ViT has one.
    """
    if kind_of(network)[0] != 'vit':
        return None, None
    vit = build_empty(network['backbone'])
    ours = getattr(vit, 'pos_embed_mode', 'size')
    return ours, ours if target == 'mmdino' else FORMATS[target].pos_embed_mode
