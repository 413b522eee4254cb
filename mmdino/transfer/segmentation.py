"""A linear segmentation head on patch features, for MMSegmentation.

To import it, MMSegmentation must be installed.
"""
from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class LinearSegHead(BaseDecodeHead):
    """Batch normalisation and one linear layer on concatenated maps.

    Maps of other sizes are resized to the first one's. The normalisation has
    its affine part, which the linear layer could take over.

    Args:
        in_channels: Channels of the maps taken.
        in_index: Which of the backbone's maps are taken.
        norm_cfg: Config of the normalisation.
        **kwargs: The rest of mmseg's ``BaseDecodeHead``: ``num_classes``,
            ``loss_decode``, ...
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
        """Compute logits (B, classes, h_0, w_0) of maps (B, D_i, h_i, w_i)."""
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
