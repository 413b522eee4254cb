"""Converting files."""
import json
import os.path as osp
from typing import Any, Dict, Optional, Sequence

import mmdino
from mmdino.weights.formats import convert
from mmdino.weights.formats.hf import vit_config
from mmdino.weights.formats.ours import backbone_of, with_network
from mmdino.weights.infer import backbone_cfg
from mmdino.weights.io import (check_ending, load_checkpoint, replaced,
                               save_checkpoint)


def convert_file(source_path: str,
                 target_path: str,
                 source: str,
                 target: str,
                 which: Optional[str] = None,
                 drop: Optional[Sequence[str]] = None,
                 num_heads: Optional[int] = None,
                 backbone: Optional[str] = None) -> Dict[str, Any]:
    """Convert a file; on any error ``target_path`` stays as it was.

    Ours in .pth has ``meta`` beside the ``state_dict``, as MMEngine's; other
    libraries' is the plain state dict. For transformers a target named
    model.safetensors gets the config.json that it needs beside it.

    Args:
        num_heads: Attention heads of a ViT for config.json, by default D/64.
        backbone: Checkpoint of ours to join a linear classifier with, so
            that the probe can be tested.

    See :func:`.convert` for the others.

    Returns:
        dict: What the converted file holds.
    """
    check_ending(target_path)
    checkpoint = load_checkpoint(source_path)
    converted = convert(checkpoint, source, target, which, drop)
    if backbone is not None:
        network = convert(load_checkpoint(backbone), 'mmdino', 'mmdino')
        converted = with_network(converted, network)
    content = converted
    if target == 'mmdino' and target_path.endswith('.pth'):
        meta = dict(
            mmdino_version=mmdino.__version__,
            converted_from=osp.basename(source_path))
        content = dict(meta=meta, state_dict=converted)
    save_checkpoint(content, target_path)
    if target == 'hf' and osp.basename(target_path) == 'model.safetensors':
        weights = backbone_of(convert(converted, 'hf', 'mmdino'))
        path = osp.join(osp.dirname(target_path), 'config.json')
        with replaced(path) as temporary, open(temporary, 'w') as file:
            cfg = backbone_cfg(weights, num_heads)
            json.dump(vit_config(cfg), file, indent=2)
    return converted
