"""Pretrained weights, all of them or none."""
import os.path as osp
from typing import Optional, Union

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from mmpretrain.models.backbones import ResNet as _ResNet

from mmdino.registry import MODELS


def load_pretrained(module: nn.Module,
                    checkpoint: Optional[str],
                    prefix: str = 'teacher.backbone.',
                    setting: str = 'model.checkpoint') -> None:
    """Load every weight of ``module`` from a part of a checkpoint.

    MMEngine's ``Pretrained`` initialisation only warns of weights that do not
    fit, after which a random backbone would be measured as a trained one.

    Args:
        module: What receives the weights.
        checkpoint: A file or an address of MMEngine's loader.
        prefix: Of the names of the part within the checkpoint; '' for a file
            of the module alone.
        setting: Where a config names the checkpoint, for the errors.

    Raises:
        ValueError: If no checkpoint is given, it has no such part, or a name
            or shape differs.
        FileNotFoundError: If there is no such file.
    """
    if not checkpoint:
        raise ValueError(
            'The model has no checkpoint to start from. Give the file of the '
            f'pretraining: --cfg-options {setting}=FILE')
    if '://' not in checkpoint and not osp.isfile(checkpoint):
        raise FileNotFoundError(
            f'There is no checkpoint {checkpoint!r} ({setting}). '
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


class StrictPretrained:
    """Mixin: ``init_cfg=dict(type='Pretrained', ...)`` loads all or raises.

    To stand before a subclass of MMEngine's ``BaseModule`` among the bases.
    ``checkpoint`` and ``prefix`` of the ``init_cfg`` are those of
    :func:`load_pretrained`; without a ``prefix`` the file is the module's
    alone.
    """

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names, or initialise them."""
        cfg = pretrained_cfg(self.init_cfg)
        if cfg is None:
            super().init_weights()
            return
        load_pretrained(
            self,
            cfg.get('checkpoint'),
            prefix=cfg.get('prefix') or '',
            setting='model.backbone.init_cfg.checkpoint')
        self._is_init = True


def pretrained_cfg(init_cfg: Union[dict, list, None]) -> Optional[dict]:
    """Give the ``Pretrained`` one of an ``init_cfg``, or None."""
    cfgs = init_cfg if isinstance(init_cfg, list) else [init_cfg or {}]
    return next((cfg for cfg in cfgs if cfg.get('type') == 'Pretrained'), None)


@MODELS.register_module()
class ResNet(StrictPretrained, _ResNet):
    """mmpretrain's ``ResNet`` that loads all pretrained weights or raises."""
