"""Images and videos with masks or boxes of objects, or pixel classes."""
import os
import os.path as osp
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from mmdino.datasets.benchmarks.layouts import BenchmarkDataset, list_files
from mmdino.datasets.listing import is_image
from mmdino.registry import DATASETS


class Split(BenchmarkDataset):
    """Base class of data sets that a list in ``ImageSets`` defines.

    Args:
        data_root: Folder of the data set.
        split: Name of the list, without '.txt'.
        pipeline: As in :class:`.BenchmarkDataset`.
        **kwargs: As in :class:`.BenchmarkDataset`.
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'val',
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.split = split
        super().__init__(data_root, pipeline, test_mode=True, **kwargs)

    def read_split(self, kind: str, what: str) -> list[str]:
        """Read the names in the list of the split, one a line.

        Args:
            kind: Folder of the list in ``ImageSets``.
            what: What a name stands for, for the error messages.

        Raises:
            FileNotFoundError: If there is no list.
            ValueError: If the list is empty.
        """
        path = osp.join(self.data_root, 'ImageSets', kind, f'{self.split}.txt')
        self.require([path], f'the list of {what}s')
        with open(path) as file:
            names = [line.strip() for line in file if line.strip()]
        if not names:
            raise ValueError(f'{path} names no {what}: unpack the data set '
                             'again, or choose another split')
        return names

    def list_masks(self, folder: str) -> list[dict]:
        """List the images of a segmentation split of VOC with their masks.

        Args:
            folder: Folder of the masks in ``data_root``.

        Raises:
            FileNotFoundError: If the list, an image or a mask is missing.
            ValueError: If the list is empty.
        """
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

        ImageSets/Segmentation/val.txt        one image name a line
        JPEGImages/NAME.jpg
        SegmentationObject/NAME.png           numbers of the objects, 255 void

    An item has ``img_path`` and ``mask_path``, which :class:`.LoadImage` and
    :class:`.LoadMask` read. ``split`` is 'train', 'val' or 'trainval'.

    Raises:
        FileNotFoundError: If the list, an image or a mask is missing; names
            it.
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

        ImageSets/2017/val.txt               one sequence name a line
        JPEGImages/480p/SEQUENCE/00000.jpg   one image for each frame
        Annotations/480p/SEQUENCE/00000.png  numbers of the frame's objects

    An item is a sequence of F frames: a dict with ``sequence`` (its name),
    ``frame_paths`` and ``mask_paths`` (F each), which
    :class:`.LoadSequence` reads. ``split`` is 'val' or 'train'.

    Raises:
        FileNotFoundError: If the list, the folder of a sequence, or the image
            or mask of a frame is missing; names it.
        ValueError: If the list or a sequence is empty.
    """

    layout = ('the layout of DAVIS-2017-trainval-480p.zip below data_root: '
              'ImageSets/2017, JPEGImages/480p and Annotations/480p.')

    def load_data_list(self) -> list[dict]:
        """List the files of each sequence."""
        # MMEngine reads strings in the argument `metainfo` as file names.
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
            raise ValueError(f'{frames} holds no frame (*.jpg): unpack '
                             'JPEGImages again')
        both = sorted({*numbers, *mask_numbers})
        frame_paths = [osp.join(frames, f'{n}.jpg') for n in both]
        mask_paths = [osp.join(masks, f'{n}.png') for n in both]
        self.require([*frame_paths, *mask_paths],
                     f'{len(mask_numbers)} masks for the {len(numbers)} '
                     f'frames of the sequence {name!r}: one of them')
        return dict(
            sequence=name, frame_paths=frame_paths, mask_paths=mask_paths)


def _stems(folder: str, extension: str) -> list[str]:
    """Return the names of the files with an extension, without it."""
    return [
        name.removesuffix(extension) for name in os.listdir(folder)
        if name.endswith(extension) and name[0] != '.'
    ]


@DATASETS.register_module()
class SegmentedImages(BenchmarkDataset):
    """Images of a folder with masks (.png) of the same names in another one.

    An item has ``img_path`` and ``mask_path``, which :class:`.LoadImage` and
    :class:`.LoadMask` read.

    Args:
        data_root: Folder that contains both folders.
        images: Folder of the images, relative to ``data_root``.
        masks: Folder of the masks, relative to ``data_root``.
        pipeline: As in :class:`.BenchmarkDataset`.
        **kwargs: As in :class:`.BenchmarkDataset`.

    Raises:
        FileNotFoundError: If a mask is missing; names it.
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
            raise ValueError(f'{images} does not exist or holds no image: '
                             'check data_root and images.')
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

    Like :class:`VOCObjects`, but the masks are ``SegmentationClass/NAME.png``:
    0 for the background, 1 to 20 for the classes, 255 for void.
    """

    layout = ('the layout of VOCtrainval_11-May-2012.tar below data_root: '
              'ImageSets/Segmentation, JPEGImages and SegmentationClass.')

    def load_data_list(self) -> list[dict]:
        """List images and masks."""
        return self.list_masks('SegmentationClass')


@DATASETS.register_module()
class VOCBoxes(Split):
    """The images of a detection split of PASCAL VOC 2007 or 2012.

    ``data_root`` is VOCdevkit/VOC2007 or VOC2012 as it is distributed::

        ImageSets/Main/trainval.txt    one image name a line
        JPEGImages/NAME.jpg
        Annotations/NAME.xml           boxes of the objects

    An item has ``img_path``, ``ori_shape`` (height, width) and ``gt_boxes``,
    (O, 4; float32) for its O objects, difficult ones included: top, left,
    bottom and right in pixels from 0, bottom and right exclusive.

    Raises:
        FileNotFoundError: If the list, an image or an annotation is missing;
            names it.
        ValueError: If the list is empty, or an annotation cannot be read.
    """

    layout = ('the layout of VOCtrainval.tar below data_root: '
              'ImageSets/Main, JPEGImages and Annotations.')

    def __init__(self,
                 data_root: str,
                 split: str = 'trainval',
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        super().__init__(data_root, split, pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List images and read their annotations."""
        names = self.read_split('Main', 'image')
        images = osp.join(self.data_root, 'JPEGImages')
        notes = osp.join(self.data_root, 'Annotations')
        paths = [(osp.join(images,
                           f'{name}.jpg'), osp.join(notes, f'{name}.xml'))
                 for name in names]
        self.require((path for pair in paths for path in pair),
                     f'one of the {len(names)} images and annotations')
        return [dict(img_path=i, **read_boxes(n)) for i, n in paths]


def read_boxes(path: str) -> dict:
    """Read ``ori_shape`` and ``gt_boxes`` from an annotation file of VOC.

    They are those of :class:`VOCBoxes`.

    Raises:
        ValueError: If the file is not an annotation of PASCAL VOC.
    """
    try:
        root = ElementTree.parse(path).getroot()
        size = root.find('size')
        shape = tuple(int(size.find(n).text) for n in ('height', 'width'))
        boxes = [[
            float(box.find(name).text) - (name in ('ymin', 'xmin'))
            for name in ('ymin', 'xmin', 'ymax', 'xmax')
        ] for box in root.iterfind('object/bndbox')]
    except (ElementTree.ParseError, AttributeError, ValueError) as error:
        raise ValueError(f'{path} is not an annotation of PASCAL VOC: '
                         f'{error}. Unpack it again.') from error
    return dict(
        ori_shape=shape, gt_boxes=np.array(boxes, np.float32).reshape(-1, 4))
