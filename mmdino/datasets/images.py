"""The images of folders, zip archives, list files and tar files."""
import logging
import os.path as osp
from collections import Counter
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmpretrain.datasets import BaseDataset

from mmdino.datasets.listing import image_extensions
from mmdino.datasets.sources import label_samples, open_source
from mmdino.datasets.transforms import UnreadableImageError, build_steps
from mmdino.registry import DATASETS


@DATASETS.register_module()
class Images(BaseDataset):
    """A data set of the images of folders, zip archives, list files or tar
    files.

    ``data_root`` is one of these sources, or a list of them:

    - a folder, with subfolders of any depth;
    - a zip archive, which is read without unpacking it;
    - a list file: one path a line, relative to the folder of the file, each
      followed by an integer label or none (:func:`.listing.read_list`);
    - a tar file or a pattern of tar files. For many of them
      :class:`.Shards` needs less memory.

    List files and tar files hold the labels themselves. For folders and zip
    archives the label is the rank of the image's top folder among the sorted
    names of all top folders; folders of the same name in several sources are
    one class. Data sets that are compared, such as the gallery and the queries
    of k-NN, need the same classes: give ``classes`` if one may lack some.

    An image that cannot be read is replaced by the next one, and a warning
    counts such images over all workers of this process. The sample of the
    replacement has ``unreadable``, the name of the replaced image: the metrics
    and galleries of :mod:`mmdino.evaluation` leave these samples out.

    Args:
        data_root: One source or several.
        subset: A folder in ``data_root``, such as 'train'; only its images
            are used. For a list file, the folder beside it that its paths are
            relative to.
        with_label: Whether items have ``gt_label``; by default they do if the
            source holds labels, or if all images lie in two or more folders.
        classes: Class names in their order, or a file with one name a line.
        images_per_class: Keep only the first so many images of each class.
        pipeline: Transforms, or a single one.
        **kwargs: Other arguments of mmpretrain's BaseDataset, such as
            ``indices``.

    Raises:
        FileNotFoundError: If ``data_root`` or ``subset`` does not exist.
        ValueError: If there is no image, if labels are asked for and missing,
            or if a folder is not among ``classes``.
        RuntimeError: On access, if no image at all can be read.
    """

    def __init__(self,
                 data_root: str | Sequence[str],
                 subset: str = '',
                 with_label: bool | None = None,
                 classes: str | Sequence[str] | None = None,
                 images_per_class: int | None = None,
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        single = isinstance(data_root, str)
        self.roots = [data_root] if single else [str(r) for r in data_root]
        if not self.roots:
            raise ValueError('data_root is an empty list: give at least one '
                             'folder, archive or list file')
        self.subset = subset
        self.with_label = with_label
        self.images_per_class = images_per_class
        super().__init__(
            ann_file='',
            data_root=osp.expanduser(data_root) if single else '',
            classes=classes,
            pipeline=build_steps(pipeline).transforms,
            **kwargs)

    def full_init(self) -> None:
        """List the images and reset :attr:`unreadable`."""
        super().full_init()
        self._unreadable = self._new_flags()

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep some of the images, in place."""
        super().get_subset_(indices)
        self._unreadable = self._new_flags()

    def get_subset(self, indices: int | Sequence[int]) -> 'Images':
        """Return a data set of some of the images."""
        subset = super().get_subset(indices)
        subset._unreadable = subset._new_flags()
        return subset

    def load_data_list(self) -> list[dict]:
        """List the images, with labels where there are any."""
        sources = [open_source(root, self.subset) for root in self.roots]
        for root, source in zip(self.roots, sources):
            if not len(source):
                raise ValueError(f'There is no image in {root}' +
                                 (self.subset and f' ({self.subset})') +
                                 '; the extensions of images are ' +
                                 ', '.join(image_extensions()))
        items = [
            dict(img_path=source.path(i)) for source in sources
            for i in range(len(source))
        ]
        for item, label in zip(items, self._labels(sources)):
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
                                 f'{self._source} has none: leave it out')
            count[item['gt_label']] += 1
            if count[item['gt_label']] <= self.images_per_class:
                kept.append(item)
        return kept

    def __getitem__(self, index: int) -> dict:
        """Return the item, or the next one whose image can be read."""
        if not self._fully_initialized:
            self.full_init()
        cause = None
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if self._unreadable[candidate]:
                continue
            try:
                item = self.prepare_data(candidate)
            except UnreadableImageError as error:
                self._warn_unreadable(candidate, error)
                cause = error
                continue
            return self._stand_in(item, index) if step else item
        raise RuntimeError(
            f'none of the {len(self)} images of {self._source} can be read; '
            f'the first is {self.get_data_info(0)["img_path"]}' +
            (f': {cause}' if cause else '')) from cause

    @property
    def unreadable(self) -> torch.Tensor:
        """Return flags (N,), bool: which images could not be read so far.

        They include the images that this process' workers have read.
        """
        return self._unreadable

    @property
    def _source(self) -> str:
        return ', '.join(self.roots) + (self.subset and f' ({self.subset})')

    def _labels(self, sources: list) -> list[int]:
        """Return the labels of all images, or [] if there are none."""
        if self.with_label is False:
            return []
        try:
            labels, names, cause = label_samples(sources, self.CLASSES)
        except ValueError as error:
            raise ValueError(f'{self._source} has {error}') from error
        if self.with_label and labels is None:
            raise ValueError(
                f'with_label=True, but {self._source} has no labels '
                f'({cause}): put every image into the folder of its class, or '
                'give every line of a list file a label')
        if labels is None or names is None:
            return labels or []
        if len(set(labels)) < 2 and not self.with_label:
            return []
        self._metainfo['classes'] = names
        return labels

    def _stand_in(self, item: dict, index: int) -> dict:
        """Note in a sample which image it replaces."""
        sample = item.get('data_samples')
        if isinstance(sample, BaseDataElement):
            name = self.get_data_info(index)['img_path']
            sample.set_metainfo(dict(sample_idx=index, unreadable=name))
        return item

    def _new_flags(self) -> torch.Tensor:
        """Return flags (N,), False, in memory that the workers share."""
        return torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def _warn_unreadable(self, index: int, error: Exception) -> None:
        self._unreadable[index] = True
        count = int(self._unreadable.sum())
        if count <= 20 or count % 100 == 0:
            print_log(
                f'{count} of {len(self)} images could not be read so far and '
                f'are replaced by the next one: {error}',
                logger='current',
                level=logging.WARNING)
