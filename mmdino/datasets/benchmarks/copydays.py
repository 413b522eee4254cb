"""Copydays (Douze et al. 2009), a benchmark of copy detection."""
import logging
import os.path as osp
from collections.abc import Sequence

from mmengine.logging import print_log

from mmdino.datasets.benchmarks.layouts import BenchmarkDataset
from mmdino.datasets.listing import list_folder
from mmdino.registry import DATASETS

# labels of images that are no original
DISTRACTOR, WHITENING = -1, -2
SUBSETS = ('database', 'strong')


@DATASETS.register_module()
class Copydays(BenchmarkDataset):
    """The database of Copydays, or its strong copies, the queries.

    The layout is that of the archives' folders, with any images beside::

        copydays/
            original/200000.jpg ...
            strong/200001.jpg ...
        copydays_distractors/   any images, optional
        copydays_whitening/     any other images, optional

    ``gt_label`` is the block, the number that the first four digits of an
    original's and its copies' names share. In the database, distractors have
    the label :data:`DISTRACTOR` and the images that only the whitening is
    learnt on :data:`WHITENING`. The authors took 10000 and 20000 of YFCC100M.

    Args:
        data_root: The folder ``copydays``, the optional ones beside it.
        subset: 'database' or 'strong'.
        pipeline, **kwargs: As for every :class:`BenchmarkDataset`.

    Raises:
        FileNotFoundError: If a folder that is not optional is missing.
        ValueError: If the subset is none of the two, one of these folders
            has no image or a file is not named after its block.
    """

    def __init__(self,
                 data_root: str,
                 subset: str,
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        if subset not in SUBSETS:
            raise ValueError(f'subset must be one of {SUBSETS}, got '
                             f'{subset!r}.')
        self.subset = subset
        super().__init__(data_root, pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images and the block that each belongs to."""
        if self.subset == 'strong':
            return self._blocks('strong')
        return [
            *self._blocks('original'),
            *self._others('distractors', DISTRACTOR),
            *self._others('whitening', WHITENING)
        ]

    def _blocks(self, name: str) -> list[dict]:
        folder = osp.join(self.data_root, name)
        if not osp.isdir(folder):
            raise FileNotFoundError(
                f'There is no folder {folder}. Copydays needs the folders '
                f'original and strong in {self.data_root}.')
        names = list_folder(folder)
        if not names:
            raise ValueError(f'no image in {folder}; Copydays has there '
                             'files such as 200000.jpg')
        return [
            dict(img_path=osp.join(folder, n), gt_label=_block(folder, n))
            for n in names
        ]

    def _others(self, name: str, label: int) -> list[dict]:
        folder = f'{self.data_root}_{name}'
        names = list_folder(folder) if osp.isdir(folder) else []
        if not names:
            print_log(
                f'Copydays without {name}: no image in {folder}. The result '
                'cannot be compared with published ones.',
                logger='current',
                level=logging.WARNING)
        return [
            dict(img_path=osp.join(folder, n), gt_label=label) for n in names
        ]


def _block(folder: str, name: str) -> int:
    digits = osp.basename(name)[:4]
    if not (digits.isdecimal() and len(digits) == 4):
        raise ValueError(
            f'{osp.join(folder, name)} is not named as in Copydays, where the '
            'first four digits are the block, such as 200001.jpg.')
    return int(digits)
