"""Copydays (Douze et al. 2009), a benchmark of copy detection."""
import logging
import os.path as osp
from collections.abc import Sequence

from mmengine.logging import print_log

from mmdino.datasets.benchmarks.layouts import BenchmarkDataset
from mmdino.datasets.listing import list_folder
from mmdino.registry import DATASETS

# Labels of the images of the database that belong to no block.
DISTRACTOR, WHITENING = -1, -2
SUBSETS = ('database', 'strong')


@DATASETS.register_module()
class Copydays(BenchmarkDataset):
    """The database of Copydays, or its strong copies, the queries.

    The folders are those of the distributed archives, with optional folders
    of other images beside them::

        copydays/
            original/200000.jpg ...
            strong/200001.jpg ...
        copydays_distractors/   any images, optional
        copydays_whitening/     any other images, optional

    An original and its copies form a block, and their file names begin with
    the same four digits: this number is ``gt_label``. In the database,
    distractors have the label :data:`DISTRACTOR`, and images that serve only
    to learn the whitening have :data:`WHITENING`. The authors of DINO took
    10000 distractors and 20000 images for the whitening from YFCC100M.

    Args:
        data_root: The folder ``copydays``. The optional folders are beside it
            and named after it, as above.
        subset: 'database' or 'strong'.
        pipeline: As in :class:`.BenchmarkDataset`.
        **kwargs: As in :class:`.BenchmarkDataset`.

    Raises:
        FileNotFoundError: If the folder original or strong is missing.
        ValueError: If ``subset`` is neither of the two, a folder has no image,
            or a file name does not begin with four digits.
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
        """List the images with their labels."""
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
            raise ValueError(f'There is no image in {folder}, where Copydays '
                             'has files such as 200000.jpg: unpack it again.')
        return [
            dict(img_path=osp.join(folder, n), gt_label=_block(folder, n))
            for n in names
        ]

    def _others(self, name: str, label: int) -> list[dict]:
        folder = f'{self.data_root}_{name}'
        names = list_folder(folder) if osp.isdir(folder) else []
        if not names:
            print_log(
                f'Copydays is used without {name}, because there is no image '
                f'in {folder}. The result cannot be compared with published '
                'ones.',
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
            'first four digits are the block, such as 2000 in 200001.jpg: '
            'remove or rename it.')
    return int(digits)
