"""Any timm model as a backbone, at any crop size."""
from typing import Optional, Tuple

import timm
import torch.nn as nn
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor

from mmdino.registry import MODELS
from ..pretrained import StrictPretrained


@MODELS.register_module()
class TimmBackbone(StrictPretrained, BaseBackbone):
    """A timm model without its classifier: pooled features of width D.

    Multi-crop feeds images of several sizes, so models that fix their input
    size by default are built with timm's ``dynamic_img_size``. What pooled
    means is timm's default for the model: the class token of a ViT or XCiT,
    the average of a convnet's last map.

    Args:
        model_name (str): A name of ``timm.list_models()``.
        pretrained (bool): Load timm's weights, which downloads them.
        in_channels (int): Channels of the images.
        **kwargs: Further arguments of ``timm.create_model``, such as
            ``drop_path_rate``.

    Attributes:
        embed_dims (int): Width D of the features.

    Raises:
        ValueError: If timm does not know the model.
    """

    def __init__(self,
                 model_name: str,
                 pretrained: bool = False,
                 in_channels: int = 3,
                 init_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            raise ValueError(
                f'timm {timm.__version__} has no model {model_name!r}; see '
                "timm.list_models('*name*').")
        self.model = _create_model(
            model_name,
            pretrained=pretrained,
            in_chans=in_channels,
            num_classes=0,
            **kwargs)
        self.in_channels = in_channels
        self.embed_dims = self.model.num_features
        # timm initialises in its constructors.
        self._is_init = init_cfg is None

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        """Turn images (B, C, H, W) into pooled features ((B, D), )."""
        return (self.model(x), )


def _create_model(model_name: str, **kwargs) -> nn.Module:
    """Create the model for any image size, if it is not so by nature."""
    try:
        return timm.create_model(model_name, dynamic_img_size=True, **kwargs)
    except TypeError as error:
        if 'dynamic_img_size' not in str(error):
            raise
        return timm.create_model(model_name, **kwargs)
