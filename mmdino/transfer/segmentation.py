"""A linear segmentation head on patch features, for MMSegmentation.

Importing this module needs MMSegmentation.
"""
from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class LinearSegHead(BaseDecodeHead):
    """Batch normalisation and one linear layer on concatenated maps.

    Maps of other sizes are resized to the size of the first one.

    Args:
        in_channels: Number of channels of each map that is used.
        in_index: Indices of the backbone's maps that are used.
        norm_cfg: Config of the normalisation.
        **kwargs: Other arguments of mmseg's ``BaseDecodeHead``, such as
            ``num_classes`` and ``loss_decode``.
    """

    def __init__(self, in_channels: Sequence[int], in_index: Sequence[int],
                 norm_cfg: dict, **kwargs) -> None:
        channels = sum(in_channels)
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='resize_concat',
            dropout_ratio=0,
            norm_cfg=norm_cfg,
            **kwargs)
        self.norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute logits (B, C, h, w) of C classes from the backbone's maps.

        (h, w) is the size of the first map that is used.
        """
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
