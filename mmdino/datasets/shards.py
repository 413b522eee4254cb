"""A data set of images in tar files of WebDataset layout."""
from collections.abc import Sequence

import numpy as np

from mmdino.datasets.source_images import SourceImages
from mmdino.datasets.tar_shards import TarShards, list_shards
from mmdino.registry import DATASETS


@DATASETS.register_module()
class Shards(SourceImages):
    """A data set of images in tar files of WebDataset layout, with labels.

    Each picture is read in place and at random, by an index that is built at
    the first use (:func:`.shard_index.open_index`; all processes of a job
    take part). With :class:`.ShardSampler` a training reads the files mostly
    in order. Items, labels and broken pictures are as in :class:`.Images`.

    ``data_root`` is one of

    - a folder: all its .tar files, sorted by name;
    - a pattern, such as ``shards-{000..099}.tar`` or ``{a,b}.tar``, of which
      all files must be there;
    - a list of tar files and patterns.

    Args:
        data_root: Where the shards are.
        subset: A folder, a file or a pattern in the folder ``data_root``.
        with_label: Whether items have ``gt_label``; by default if all have a
            label.
        classes: Class names, or a file that has one a line; by default those
            of ``classes.txt`` beside the first shard, where it is.
        images_per_class: Keep the first so many of a class.
        pipeline: Transforms, or a single one.
        extensions: Those of the pictures, see :func:`.shard_index.scan_shard`.
        cache_dir: Where the index lies; by default beside the shards, or in
            ``~/.cache/mmdino`` if they cannot be written.
        **kwargs: The rest of mmpretrain's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If there is no shard or one of a pattern is missing.
        ShardError: If one cannot be used.
        ValueError: If a label is wanted and missing, or no class has it.
        RuntimeError: On access, if no picture at all can be read.
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
        """Return where each shard's samples begin, and their number, (S + 1,).

        Raises:
            ValueError: If ``indices`` are not in ascending order.
        """
        chosen, starts = self.data_list.chosen, self.source.starts
        if isinstance(chosen, range):
            return np.clip(starts, chosen.start, chosen.stop) - chosen.start
        if (np.diff(chosen) < 0).any():
            raise ValueError(
                'indices must ascend for an order by shards; sort them or '
                'use DefaultSampler')
        return np.searchsorted(chosen, starts)

    def _open(self) -> TarShards:
        return TarShards(self.shards, self.extensions, self.cache_dir)
