"""A feature pyramid on maps of one size, as a plain ViT yields them."""
from typing import Sequence, Tuple

from mmseg.models.necks import FPN, Feature2Pyramid
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class ViTFPN(FPN):
    """mmseg's ``FPN`` on maps rescaled by its ``Feature2Pyramid``.

    Four blocks' maps become four strides, as in BEiT and XCiT; then FPN
    joins them from the coarsest to the finest.

    Args:
        embed_dim (int): Width D of the maps.
        norm_cfg (dict): Config of the normalisation between the two
            transposed convolutions of the finest map.
        rescales (Sequence[float]): What each map's sides are multiplied with.
        **kwargs: The rest of ``FPN``: ``out_channels``, ``num_outs``.
    """

    def __init__(self,
                 embed_dim: int,
                 norm_cfg: dict,
                 rescales: Sequence[float] = (4, 2, 1, .5),
                 **kwargs) -> None:
        super().__init__(in_channels=[embed_dim] * len(rescales), **kwargs)
        self.rescale = Feature2Pyramid(embed_dim, list(rescales), norm_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Maps, each (B, D, h, w), to maps (B, out_channels, s h, s w).

        One for each s of ``rescales``.
        """
        return super().forward(self.rescale(inputs))
