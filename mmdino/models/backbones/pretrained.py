"""Loading of pretrained weights that accepts no partial match."""
from mmpretrain.models.backbones import ResNet as _ResNet

from mmdino.registry import MODELS
from mmdino.weights.network import load_pretrained


class StrictPretrained:
    """Mixin whose ``init_cfg=dict(type='Pretrained')`` loads all or raises.

    List it before a subclass of MMEngine's ``BaseModule`` among the base
    classes. ``checkpoint`` and ``prefix`` of the ``init_cfg`` are passed to
    :func:`mmdino.weights.load_pretrained`. Without a ``prefix`` it loads the
    teacher's backbone, or a file that holds the weights of this module alone.
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


def pretrained_cfg(init_cfg: dict | list | None) -> dict | None:
    """Return the entry of type ``Pretrained`` of an ``init_cfg``, or None."""
    cfgs = init_cfg if isinstance(init_cfg, list) else [init_cfg or {}]
    return next((cfg for cfg in cfgs if cfg.get('type') == 'Pretrained'), None)


@MODELS.register_module()
class ResNet(StrictPretrained, _ResNet):
    """mmpretrain's ``ResNet`` that loads all pretrained weights or raises."""
