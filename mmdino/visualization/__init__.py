from .attention import draw_attention, overlay
from .curves import PANELS, Panel, draw_curves, read_scalars

__all__ = [
    'PANELS', 'Panel', 'draw_attention', 'draw_curves', 'overlay',
    'read_scalars'
]
