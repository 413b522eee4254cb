from .gallery_loop import GalleryTestLoop, GalleryValLoop

__all__ = ['GalleryTestLoop', 'GalleryValLoop']
