from .dino_loss import DINOLoss
from .info_nce_loss import InfoNCELoss
from .mse_loss import MSELoss

__all__ = ['DINOLoss', 'InfoNCELoss', 'MSELoss']
