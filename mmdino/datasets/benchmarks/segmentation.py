"""Images with a class for every pixel."""
import os.path as osp
from collections.abc import Sequence

from mmdino.datasets.benchmarks.base import BenchmarkDataset, list_files
from mmdino.datasets.benchmarks.masks import Split
from mmdino.datasets.listing import is_image
from mmdino.registry import DATASETS


@DATASETS.register_module()
class SegmentedImages(BenchmarkDataset):
    """Images of a folder with masks (.png) of the same names in another one.

    An item has ``img_path`` and ``mask_path``, which :class:`LoadImage` and
    :class:`LoadMask` read.

    Args:
        data_root: Above both folders.
        images: Folder of the images.
        masks: Folder of the masks.
        **kwargs: Others of :class:`BenchmarkDataset`.

    Raises:
        FileNotFoundError: Names the mask that is missing.
        ValueError: If there is no image.
    """

    layout = ('an image images/NAME.jpg and its mask masks/NAME.png each, '
              'in the two folders that are given.')

    def __init__(self,
                 data_root: str,
                 images: str,
                 masks: str,
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.folders = images, masks
        super().__init__(data_root, pipeline, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List images and masks, by name."""
        images, masks = (osp.join(self.data_root, f) for f in self.folders)
        names = sorted(n for n in list_files(images) if is_image(n))
        if not names:
            raise ValueError(f'{images} holds no image.')
        items = [
            dict(
                img_path=osp.join(images, name),
                mask_path=osp.join(masks, f'{osp.splitext(name)[0]}.png'))
            for name in names
        ]
        self.require((item['mask_path'] for item in items),
                     f'one of the masks of the {len(names)} images')
        return items


@DATASETS.register_module()
class VOCClasses(Split):
    """The images of a segmentation split of PASCAL VOC 2012 with class masks.

    As :class:`VOCObjects`, with ``SegmentationClass/NAME.png``: 0 for the
    background, 1 to 20 for the classes, 255 void.
    """

    layout = ('the layout of VOCtrainval_11-May-2012.tar below data_root: '
              'ImageSets/Segmentation, JPEGImages and SegmentationClass.')

    def load_data_list(self) -> list[dict]:
        """List images and masks."""
        return self.list_masks('SegmentationClass')
