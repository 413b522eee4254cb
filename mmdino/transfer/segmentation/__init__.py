"""Parts for MMSegmentation, which must be installed to import them."""
from .linear_seg_head import LinearSegHead

__all__ = ['LinearSegHead']
