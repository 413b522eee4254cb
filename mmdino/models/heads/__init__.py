from .dino_head import DINOHead
from .mlp_head import MLPHead
from .predictor import Predictor

__all__ = ['DINOHead', 'MLPHead', 'Predictor']
