"""Images and videos with the masks of their objects."""
import os
import os.path as osp
from collections.abc import Sequence

from mmdino.datasets.benchmarks.base import BenchmarkDataset
from mmdino.registry import DATASETS


class Split(BenchmarkDataset):
    """Base class of data sets that a list in ``ImageSets`` defines.

    Other arguments are those of :class:`BenchmarkDataset`.
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'val',
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.split = split
        super().__init__(data_root, pipeline, test_mode=True, **kwargs)

    def read_split(self, kind: str, what: str) -> list[str]:
        """Read the names in the list; a missing or empty list is an error."""
        path = osp.join(self.data_root, 'ImageSets', kind, f'{self.split}.txt')
        self.require([path], f'the list of {what}s')
        with open(path) as file:
            names = file.read().split()
        if not names:
            raise ValueError(f'{path} names no {what}')
        return names

    def list_masks(self, folder: str) -> list[dict]:
        """List the images of a segmentation split of VOC with their masks."""
        names = self.read_split('Segmentation', 'image')
        images = osp.join(self.data_root, 'JPEGImages')
        masks = osp.join(self.data_root, folder)
        items = [
            dict(
                img_path=osp.join(images, f'{name}.jpg'),
                mask_path=osp.join(masks, f'{name}.png')) for name in names
        ]
        self.require((path for item in items for path in item.values()),
                     f'one of the {len(names)} images and masks')
        return items


@DATASETS.register_module()
class VOCObjects(Split):
    """The images of a segmentation split of PASCAL VOC 2012.

    ``data_root`` is VOCdevkit/VOC2012 as it is distributed::

        ImageSets/Segmentation/val.txt        an image's name a line
        JPEGImages/NAME.jpg
        SegmentationObject/NAME.png           the objects' numbers, 255 void

    An item has ``img_path`` and ``mask_path``, which :class:`LoadImage` and
    :class:`LoadMask` read. ``split`` is 'train', 'val' or 'trainval'.

    Raises:
        FileNotFoundError: Names the list, image or mask that is missing.
        ValueError: If the list is empty.
    """

    layout = ('the layout of VOCtrainval_11-May-2012.tar below data_root: '
              'ImageSets/Segmentation, JPEGImages and SegmentationObject.')

    def load_data_list(self) -> list[dict]:
        """List images and masks."""
        return self.list_masks('SegmentationObject')


@DATASETS.register_module()
class DAVIS(Split):
    """The sequences of a split of DAVIS 2017.

    ``data_root`` is the folder of the archive DAVIS-2017-trainval-480p::

        ImageSets/2017/val.txt               a sequence's name a line
        JPEGImages/480p/SEQUENCE/00000.jpg   and so on
        Annotations/480p/SEQUENCE/00000.png  the objects' numbers, a frame each

    An item is a sequence: a dict with ``sequence`` (its name) and
    ``frame_paths`` and ``mask_paths`` (F each), which
    :class:`LoadSequence` reads. ``split`` is 'val' or 'train'.

    Raises:
        FileNotFoundError: Names the list, the sequence's folder, or the image
            or the mask of a frame that is missing.
        ValueError: If the list or a sequence is empty.
    """

    layout = ('the layout of DAVIS-2017-trainval-480p.zip below data_root: '
              'ImageSets/2017, JPEGImages/480p and Annotations/480p.')

    def load_data_list(self) -> list[dict]:
        """List the files of each sequence."""
        # MMEngine takes a string in the argument `metainfo` for a file.
        self._metainfo['split'] = self.split
        names = self.read_split('2017', 'sequence')
        return [self._list_sequence(name) for name in names]

    def _list_sequence(self, name: str) -> dict:
        frames = osp.join(self.data_root, 'JPEGImages', '480p', name)
        masks = osp.join(self.data_root, 'Annotations', '480p', name)
        self.require([frames], f'the frames of the sequence {name!r}')
        self.require([masks], f'the masks of the sequence {name!r}')
        numbers, mask_numbers = _stems(frames, '.jpg'), _stems(masks, '.png')
        if not numbers:
            raise ValueError(f'{frames} holds no frame (*.jpg)')
        both = sorted({*numbers, *mask_numbers})
        frame_paths = [osp.join(frames, f'{n}.jpg') for n in both]
        mask_paths = [osp.join(masks, f'{n}.png') for n in both]
        self.require([*frame_paths, *mask_paths],
                     f'{len(mask_numbers)} masks for the {len(numbers)} '
                     f'frames of the sequence {name!r}: one of them')
        return dict(
            sequence=name, frame_paths=frame_paths, mask_paths=mask_paths)


def _stems(folder: str, extension: str) -> list[str]:
    """Names of the folder's files of a kind, without extension."""
    return [
        name.removesuffix(extension) for name in os.listdir(folder)
        if name.endswith(extension) and name[0] != '.'
    ]
