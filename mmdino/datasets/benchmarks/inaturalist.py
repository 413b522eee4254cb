"""iNaturalist 2018 and 2019."""
import json
import os.path as osp
from collections.abc import Sequence

from mmdino.datasets.benchmarks.layouts import BenchmarkDataset
from mmdino.registry import DATASETS


@DATASETS.register_module()
class INaturalist(BenchmarkDataset):
    """The images that an annotation file of iNaturalist lists.

    ``data_root`` holds the files of one year as they are distributed::

        train2018.json  val2018.json
        train_val2018/Plantae/7477/3b60c9486db1d2ee875f11a669fbde4a.jpg

    An item has ``img_path`` and ``gt_label``, the rank of its category among
    the sorted ids of all categories.

    Args:
        data_root: The folder of the annotations and images.
        ann_file: Name of the annotation file, relative to ``data_root``.
        pipeline: As in :class:`.BenchmarkDataset`.
        **kwargs: As in :class:`.BenchmarkDataset`.

    Raises:
        FileNotFoundError: If the file or an image is missing; names it.
        ValueError: If the file has no annotation.
    """

    layout = ('the annotations and the images of the challenge, unpacked '
              'into data_root.')

    def __init__(self,
                 data_root: str,
                 ann_file: str,
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        super().__init__(data_root, pipeline, ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Join images, annotations and categories of the annotation file."""
        self.require([self.ann_file], 'the annotations')
        with open(self.ann_file, encoding='utf-8') as file:
            content = json.load(file)
        categories = sorted(content['categories'], key=lambda c: c['id'])
        self._metainfo['classes'] = tuple(c['name'] for c in categories)
        label = {c['id']: place for place, c in enumerate(categories)}
        names = {i['id']: i['file_name'] for i in content['images']}
        items = [
            dict(
                img_path=osp.join(self.data_root, names[a['image_id']]),
                gt_label=label[a['category_id']])
            for a in content['annotations']
        ]
        if not items:
            raise ValueError(f'{self.ann_file} has no annotation of an image: '
                             'use the file of the train or val split')
        self.require((item['img_path'] for item in items),
                     f'one of the {len(items)} images that the annotations '
                     'name')
        return items
