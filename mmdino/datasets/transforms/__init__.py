"""Multi-crop and its augmentations, on images (H, W, C)."""
from mmdino.datasets.transforms.augment import (ColorJitter, GaussianBlur,
                                                HorizontalFlip,
                                                RandomGrayscale, Solarize)
from mmdino.datasets.transforms.formatting import (CenterView, CropToBox,
                                                   PackViews, ResizeShortSide,
                                                   Thumbnail, WholeView)
from mmdino.datasets.transforms.loading import (LoadImage, LoadMask,
                                                LoadSequence,
                                                UnreadableImageError)
from mmdino.datasets.transforms.multi_crop import MultiCrop, build_steps
from mmdino.datasets.transforms.random_resized_crop import RandomResizedCrop
