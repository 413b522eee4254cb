"""The objects of PASCAL VOC 2012, each with a mask."""
import os.path as osp
from collections.abc import Sequence

from mmengine.dataset import BaseDataset

from mmdino.datasets.transforms import build_steps
from mmdino.registry import DATASETS


@DATASETS.register_module()
class VOCObjects(BaseDataset):
    """The images of a segmentation split, in the order of its list.

    ``data_root`` is VOCdevkit/VOC2012 as it is distributed::

        ImageSets/Segmentation/val.txt        an image's name a line
        JPEGImages/NAME.jpg
        SegmentationObject/NAME.png           the objects' numbers, 255 void

    An item has ``img_path`` and ``mask_path``, which :class:`LoadImage` and
    :class:`LoadMask` read.

    Args:
        data_root (str): The folder.
        split (str): Name of the list: 'train', 'val' or 'trainval'.
        pipeline (Sequence | dict): Transforms, or a single one.
        **kwargs: The rest of MMEngine's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If the list, an image or a mask does not exist.
            Names the first one.
        ValueError: If the list is empty.
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'val',
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.split = split
        super().__init__(
            data_root=osp.expanduser(data_root),
            pipeline=build_steps(pipeline).transforms,
            test_mode=True,
            **kwargs)

    def load_data_list(self) -> list[dict]:
        """List images and masks."""
        path = osp.join(self.data_root, 'ImageSets', 'Segmentation',
                        f'{self.split}.txt')
        _require(path, 'the list of images')
        with open(path) as file:
            names = file.read().split()
        if not names:
            raise ValueError(f'{path} names no image')
        items = [
            dict(
                img_path=osp.join(self.data_root, 'JPEGImages', f'{n}.jpg'),
                mask_path=osp.join(self.data_root, 'SegmentationObject',
                                   f'{n}.png')) for n in names
        ]
        for item in items:
            for file in item.values():
                _require(file, f'one of the {len(names)} images and masks')
        return items


def _require(path: str, what: str) -> None:
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path} does not exist: {what}. VOCObjects needs the layout of '
            'VOCtrainval_11-May-2012.tar below data_root: '
            'ImageSets/Segmentation, JPEGImages and SegmentationObject.')
