from .pixel_features import PixelFeatures

__all__ = ['PixelFeatures']
