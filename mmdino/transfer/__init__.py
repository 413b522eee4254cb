"""Parts for MMSegmentation, which must be installed to import them."""
from .linear_seg_head import LinearSegHead
from .vit_fpn import ViTFPN

__all__ = ['LinearSegHead', 'ViTFPN']
