"""A data set of images in tar files of WebDataset layout."""
from collections.abc import Sequence

import numpy as np

from mmdino.datasets.source_images import SourceImages
from mmdino.datasets.tar_shards import TarShards, list_shards
from mmdino.registry import DATASETS


@DATASETS.register_module()
class Shards(SourceImages):
    """A data set of images in tar files of WebDataset layout, with labels.

    Images are read without unpacking and in any order, by an index. The first
    use builds the index (:func:`.shard_index.open_index`), for which all
    processes of a job have to construct the data set. :class:`.ShardSampler`
    lets a training read the files mostly in order. Items, labels and
    unreadable images are as in :class:`.Images`.

    ``data_root`` is one of

    - a folder: all its .tar files, sorted by name;
    - a pattern, such as ``shards-{000..099}.tar`` or ``{a,b}.tar``, all files
      of which must exist;
    - a list of tar files and patterns.

    Args:
        data_root: The shards, see above.
        subset: A folder, a file or a pattern in the folder ``data_root``.
        with_label: Whether items have ``gt_label``; by default they do if all
            images have a label.
        classes: Class names, or a file with one name a line; by default those
            of ``classes.txt`` beside the first shard, if it exists.
        images_per_class: Keep only the first so many images of each class.
        pipeline: Transforms, or a single one.
        extensions: Extensions of the images, see
            :func:`.shard_index.scan_shard`.
        cache_dir: Folder of the index; by default that of the first shard or,
            if it is not writable, ``~/.cache/mmdino``.
        **kwargs: Other arguments of mmpretrain's BaseDataset, such as
            ``indices``.

    Raises:
        FileNotFoundError: If there is no shard, or one of a pattern is
            missing.
        ShardError: If a shard cannot be used.
        ValueError: If labels are asked for and missing, or a label is not
            below the number of classes.
        RuntimeError: On access, if no image at all can be read.
    """

    def __init__(self,
                 data_root: str | Sequence[str],
                 subset: str = '',
                 with_label: bool | None = None,
                 classes: str | Sequence[str] | None = None,
                 images_per_class: int | None = None,
                 pipeline: Sequence | dict = (),
                 extensions: Sequence[str] | None = None,
                 cache_dir: str | None = None,
                 **kwargs) -> None:
        self.shards = list_shards(data_root, subset)
        self.extensions = extensions
        self.cache_dir = cache_dir
        super().__init__(
            data_root=data_root,
            subset=subset,
            with_label=with_label,
            classes=classes,
            images_per_class=images_per_class,
            pipeline=pipeline,
            serialize_data=False,
            **kwargs)

    @property
    def shard_starts(self) -> np.ndarray:
        """Return the first sample of each of S shards, then N, (S + 1,).

        Raises:
            ValueError: If the data set was reduced to ``indices`` that are
                not in ascending order.
        """
        chosen, starts = self.data_list.chosen, self.source.starts
        if isinstance(chosen, range):
            return np.clip(starts, chosen.start, chosen.stop) - chosen.start
        if (np.diff(chosen) < 0).any():
            raise ValueError(
                'ShardSampler needs indices in ascending order: sort them, '
                'or use DefaultSampler')
        return np.searchsorted(chosen, starts)

    def _open(self) -> TarShards:
        return TarShards(self.shards, self.extensions, self.cache_dir)
