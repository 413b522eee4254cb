"""The images of a folder, a zip archive or a list file."""
import logging
import os.path as osp
from collections import Counter
from collections.abc import Sequence
from zipfile import is_zipfile

import torch
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from mmdino.datasets.listing import (IMAGE_EXTENSIONS, ZIP_PREFIX,
                                     class_folders, join_zip_path,
                                     list_archive, list_folder, read_list)
from mmdino.datasets.transforms import UnreadableImageError, build_steps
from mmdino.registry import DATASETS


@DATASETS.register_module()
class Images(BaseDataset):
    """The images of a folder, a zip archive or a list file, with labels.

    ``data_root`` is one of

    - a folder, nested as it may be;
    - a zip archive, which is read in place;
    - a list file: a path a line, relative to the file's own folder, with an
      integer label after it or without (:func:`.listing.read_list`).

    Else the label is the top folder's place among all of them, sorted by
    name. Data sets that are compared, such as the gallery and the queries of
    k-NN, need the same classes: where one may lack some, give ``classes``.

    An image that cannot be read is replaced by the next one, with a warning
    that counts them over all workers of this process.

    Args:
        data_root (str): The folder, archive or list file.
        subset (str): Use the images of this folder in ``data_root`` alone,
            such as 'train'; for a list file, where in its own its paths start.
        with_label (bool, optional): Whether items have ``gt_label``; by
            default if the list file gives labels, or if all images lie in two
            or more folders.
        classes (str | Sequence[str], optional): Class names in their order,
            or a file that has one a line.
        images_per_class (int, optional): Keep the first so many of a class.
        pipeline (Sequence | dict): Transforms, or a single one.
        **kwargs: The rest of mmpretrain's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If ``data_root`` or ``subset`` does not exist.
        ValueError: If there is no image, a label is wanted and missing, or a
            folder is not among ``classes``.
        RuntimeError: On access, if no image at all can be read.
    """

    def __init__(self,
                 data_root: str,
                 subset: str = '',
                 with_label: bool | None = None,
                 classes: str | Sequence[str] | None = None,
                 images_per_class: int | None = None,
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.subset = subset
        self.with_label = with_label
        self.images_per_class = images_per_class
        super().__init__(
            ann_file='',
            data_root=osp.expanduser(data_root),
            classes=classes,
            pipeline=build_steps(pipeline).transforms,
            **kwargs)

    def full_init(self) -> None:
        super().full_init()
        self._unreadable = self._new_flags()

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        super().get_subset_(indices)
        self._unreadable = self._new_flags()

    def get_subset(self, indices: int | Sequence[int]) -> 'Images':
        subset = super().get_subset(indices)
        subset._unreadable = subset._new_flags()
        return subset

    def load_data_list(self) -> list[dict]:
        root, names, labels = self._list()
        if not names:
            raise ValueError(
                f'no image in {self._source}; accepted extensions, in any '
                f'case: {", ".join(IMAGE_EXTENSIONS)}')
        if root.startswith(ZIP_PREFIX):  # an absolute name, too, is in it
            items = [dict(img_path=f'{root.rstrip("/")}/{n}') for n in names]
        else:
            items = [dict(img_path=osp.join(root, n)) for n in names]
        if self.with_label is not False:
            for item, label in zip(items, labels
                                   or self._folder_labels(names)):
                item['gt_label'] = label
        return items

    def filter_data(self) -> list[dict]:
        """Keep the first ``images_per_class`` of each class."""
        if self.images_per_class is None:
            return self.data_list
        kept, count = [], Counter()
        for item in self.data_list:
            if 'gt_label' not in item:
                raise ValueError('images_per_class needs labels, and '
                                 f'{self._source} has none')
            count[item['gt_label']] += 1
            if count[item['gt_label']] <= self.images_per_class:
                kept.append(item)
        return kept

    def __getitem__(self, index: int) -> dict:
        """The item, or the next one whose image can be read."""
        if not self._fully_initialized:
            self.full_init()
        cause = None
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if self._unreadable[candidate]:
                continue
            try:
                return self.prepare_data(candidate)
            except UnreadableImageError as error:
                self._warn_unreadable(candidate, error)
                cause = error
        raise RuntimeError(
            f'none of the {len(self)} images of {self._source} can be read; '
            f'the first is {self.get_data_info(0)["img_path"]}') from cause

    @property
    def unreadable(self) -> torch.Tensor:
        """Flags (N, ): whether an image failed in a worker of this process."""
        return self._unreadable

    @property
    def _source(self) -> str:
        return f'{self.data_root}' + (self.subset and f' ({self.subset})')

    def _list(self) -> tuple[str, list[str], list[int] | None]:
        """The root of the names, the names, and the labels of a list file."""
        root = self.data_root
        if osp.isdir(root):
            folder = osp.join(root, self.subset)
            if not osp.isdir(folder):
                raise FileNotFoundError(
                    f'{root} has no folder {self.subset!r} (subset)')
            return folder, list_folder(folder), None
        if not osp.isfile(root):
            raise FileNotFoundError(
                f'data_root {root!r} does not exist; expected a folder of '
                'images, a zip archive or a list file')
        if is_zipfile(root):
            folder = join_zip_path(root, self.subset)
            return folder, list_archive(root, self.subset), None
        return osp.join(osp.dirname(root), self.subset), *read_list(root)

    def _folder_labels(self, names: list[str]) -> list[int]:
        """Labels by top folder, none if the folders are no classes."""
        folders = class_folders(names)
        if self.with_label and not folders:
            raise ValueError(
                f'with_label=True, but {self._source} gives none: put every '
                "image into its class's folder, or label every line")
        if len(folders) < 2 and not self.with_label:
            return []
        classes = self.CLASSES or folders
        unknown = sorted(set(folders) - set(classes))
        if unknown:
            raise ValueError(
                f'{self._source} has the folders {unknown}, which '
                f'are not among the {len(classes)} classes')
        self._metainfo['classes'] = tuple(classes)
        label = {name: i for i, name in enumerate(classes)}
        return [label[name.partition('/')[0]] for name in names]

    def _new_flags(self) -> torch.Tensor:
        """One flag an image, False, in memory that the workers share."""
        return torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def _warn_unreadable(self, index: int, error: Exception) -> None:
        self._unreadable[index] = True
        count = int(self._unreadable.sum())
        if count <= 20 or count % 100 == 0:
            print_log(
                f'{count} of {len(self)} images unreadable so far, replaced '
                f'by the next: {error}',
                logger='current',
                level=logging.WARNING)
