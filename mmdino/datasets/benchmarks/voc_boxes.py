"""Images of PASCAL VOC with the boxes of their objects."""
import os.path as osp
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from mmdino.datasets.benchmarks.masks import Split
from mmdino.registry import DATASETS


@DATASETS.register_module()
class VOCBoxes(Split):
    """The images of a detection split of PASCAL VOC 2007 or 2012.

    ``data_root`` is VOCdevkit/VOC2007 or VOC2012 as it is distributed::

        ImageSets/Main/trainval.txt    an image's name a line
        JPEGImages/NAME.jpg
        Annotations/NAME.xml           the objects' boxes

    An item has ``img_path``, ``ori_shape`` (height, width) and ``gt_boxes``
    (M, 4; float32): top, left, bottom, right in pixels, the last two
    exclusive, of all objects, the difficult ones too.

    Raises:
        FileNotFoundError: Names the list, image or annotation that is
            missing.
        ValueError: If the list is empty, or an annotation is none.
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
    """Read ``ori_shape`` and ``gt_boxes`` from an annotation file of VOC."""
    try:
        root = ElementTree.parse(path).getroot()
        size = root.find('size')
        shape = tuple(int(size.find(n).text) for n in ('height', 'width'))
        boxes = [[
            float(box.find(name).text) - (name in ('ymin', 'xmin'))
            for name in ('ymin', 'xmin', 'ymax', 'xmax')
        ] for box in root.iterfind('object/bndbox')]
    except (ElementTree.ParseError, AttributeError, ValueError) as error:
        raise ValueError(f'{path} is no annotation of PASCAL VOC: '
                         f'{error}') from error
    return dict(
        ori_shape=shape, gt_boxes=np.array(boxes, np.float32).reshape(-1, 4))
