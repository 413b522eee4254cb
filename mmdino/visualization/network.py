"""A trained network, ready to look at images."""
from typing import Optional

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.checkpoints import load_checkpoint
from mmdino.models import DINO
from mmdino.registry import MODELS


def load_network(checkpoint: str, config: Optional[str] = None) -> DINO:
    """Build the model of a checkpoint, in eval mode.

    Args:
        checkpoint: A checkpoint of a pretraining run.
        config: Its config file. By default the config that MMEngine keeps in
            the checkpoint.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the checkpoint is none of ours, holds no config where
            none is given, or does not fit the config.
    """
    loaded = load_checkpoint(checkpoint)
    if 'state_dict' not in loaded:
        raise ValueError(
            f'{checkpoint} is no checkpoint of mmdino: convert it with '
            'tools/convert_checkpoint.py CHECKPOINT OUT.pth --to mmdino.')
    init_default_scope('mmdino')
    if config:
        cfg = Config.fromfile(config)
    elif 'cfg' in loaded.get('meta', {}):
        cfg = Config.fromstring(loaded['meta']['cfg'], '.py')
    else:
        raise ValueError(f'{checkpoint} holds no config: give --config.')
    model = MODELS.build(cfg.model)
    try:
        model.load_state_dict(loaded['state_dict'])
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} does not fit the config: '
                         f'{error}') from error
    return model.eval()
