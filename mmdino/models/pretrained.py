"""Pretrained weights, all of them or none."""
import os.path as osp
from typing import Optional

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader


def load_pretrained(module: nn.Module,
                    checkpoint: Optional[str],
                    prefix: str = 'teacher.backbone.') -> None:
    """Load every weight of ``module`` from a part of a checkpoint.

    MMEngine's ``Pretrained`` initialisation only warns of weights that do not
    fit, after which a random backbone would be measured as a trained one.

    Args:
        module: What receives the weights.
        checkpoint: A file or an address of MMEngine's loader.
        prefix: Of the names of the part within the checkpoint.

    Raises:
        ValueError: If no checkpoint is given, it has no such part, or a name
            or shape differs.
        FileNotFoundError: If there is no such file.
    """
    if not checkpoint:
        raise ValueError(
            'The model has no checkpoint to start from. Give the file of the '
            'pretraining: --cfg-options model.checkpoint=FILE')
    if '://' not in checkpoint and not osp.isfile(checkpoint):
        raise FileNotFoundError(
            f'There is no checkpoint {checkpoint!r} (model.checkpoint). '
            'Pretraining writes epoch_N.pth to its work dir.')
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    loaded = loaded.get('state_dict', loaded)
    part = {
        name[len(prefix):]: weight
        for name, weight in loaded.items() if name.startswith(prefix)
    }
    if not part:
        tops = sorted({name.partition('.')[0] for name in loaded})
        raise ValueError(f'{checkpoint} holds no {prefix}*, only '
                         f'{", ".join(tops[:5])}: is it a checkpoint of '
                         'DINO pretraining?')
    try:
        module.load_state_dict(part, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f'The weights {prefix}* of {checkpoint} do not fit '
            f'{type(module).__name__}; use the config of the architecture '
            f'that was pretrained. {error}') from error
    print_log(
        f'Loaded all {len(part)} weights {prefix}* of {checkpoint}',
        logger='current')
