"""Multi-crop and its augmentations, on (H, W, 3) uint8 BGR images."""
from .color_jitter import ColorJitter
from .crop_to_box import CropToBox
from .gaussian_blur import GaussianBlur
from .horizontal_flip import HorizontalFlip
from .load_image import LoadImage, UnreadableImageError
from .load_mask import LoadMask
from .load_sequence import LoadSequence
from .multi_crop import MultiCrop, build_steps
from .pack_views import PackViews
from .random_grayscale import RandomGrayscale
from .random_resized_crop import RandomResizedCrop
from .solarize import Solarize
from .thumbnail import Thumbnail

__all__ = [
    'ColorJitter', 'CropToBox', 'GaussianBlur', 'HorizontalFlip', 'LoadImage',
    'LoadMask', 'LoadSequence', 'MultiCrop', 'PackViews', 'RandomGrayscale',
    'RandomResizedCrop', 'Solarize', 'Thumbnail', 'UnreadableImageError',
    'build_steps'
]
