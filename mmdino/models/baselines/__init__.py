from .pixel_features import PixelFeatures
from .saved_features import SavedFeatures

__all__ = ['PixelFeatures', 'SavedFeatures']
