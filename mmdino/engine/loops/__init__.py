from .gallery_loop import GalleryTestLoop, GalleryValLoop
from .resumable_train_loop import ResumableTrainLoop

__all__ = ['GalleryTestLoop', 'GalleryValLoop', 'ResumableTrainLoop']
