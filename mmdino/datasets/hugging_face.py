"""Images of a Hugging Face ``datasets.Dataset`` on disk."""
import glob
import os.path as osp
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from mmdino.datasets.shard_index import NO_LABEL
from mmdino.datasets.source_images import SourceImages
from mmdino.registry import DATASETS

ARROW_PREFIX = 'arrow://'
ARROW_SEPARATOR = '!/'


@DATASETS.register_module()
class HuggingFaceImages(SourceImages):
    """Images of a Hugging Face ``datasets.Dataset`` on disk, with labels.

    Images are read in any order from memory-mapped Arrow files; nothing is
    downloaded. Items, labels and unreadable images are as in
    :class:`.Images`. Needs the package ``datasets``:
    ``pip install 'mmdino[hf]'``.

    ``data_root`` is one of

    - the folder that ``Dataset.save_to_disk`` wrote, or with ``subset`` that
      of ``DatasetDict.save_to_disk``;
    - a parquet file or a folder of them, which ``datasets`` converts to Arrow
      once, in its own cache (``HF_DATASETS_CACHE``).

    Args:
        data_root: A folder or a parquet file, see above.
        subset: A folder or a file in ``data_root``, such as 'train'.
        with_label: Whether items have ``gt_label``; by default they do if
            there is a label column without missing values.
        classes: Class names, or a file with one name a line; by default those
            of the label column.
        images_per_class: Keep only the first so many images of each class.
        pipeline: Transforms, or a single one.
        image_column: Name of the image column; needed if there are several.
        label_column: Name of the label column; by default the only column of
            class labels, else the column 'label', if there is one.
        **kwargs: Other arguments of mmpretrain's BaseDataset, such as
            ``indices``.

    Raises:
        ImportError: If ``datasets`` is not installed.
        FileNotFoundError: If ``data_root`` or ``subset`` does not exist.
        ValueError: If there is no such data set, a column cannot be chosen,
            and as in :class:`.Images`.
        RuntimeError: On access, if no image at all can be read.
    """

    def __init__(self,
                 data_root: str,
                 subset: str = '',
                 with_label: bool | None = None,
                 classes: str | Sequence[str] | None = None,
                 images_per_class: int | None = None,
                 pipeline: Sequence | dict = (),
                 image_column: str | None = None,
                 label_column: str | None = None,
                 **kwargs) -> None:
        self.image_column = image_column
        self.label_column = label_column
        super().__init__(
            data_root=data_root,
            subset=subset,
            with_label=with_label,
            classes=classes,
            images_per_class=images_per_class,
            pipeline=pipeline,
            serialize_data=False,
            **kwargs)

    def _open(self) -> 'ArrowPictures':
        root = osp.join(self.data_root, self.subset)
        return ArrowPictures(
            osp.abspath(root), self.image_column, self.label_column,
            self.with_label is not False)


class ArrowPictures:
    """The images of a ``datasets.Dataset``, as a :class:`.ArraySource`.

    Args:
        root: The folder or the parquet file.
        image_column: See :class:`HuggingFaceImages`.
        label_column: See :class:`HuggingFaceImages`.
        with_label: Whether to read labels; without, each is
            :data:`NO_LABEL`.
    """

    def __init__(self,
                 root: str,
                 image_column: str | None = None,
                 label_column: str | None = None,
                 with_label: bool = True) -> None:
        table = open_table(root)
        self.root = root
        self.column = _image_column(table, root, image_column)
        label_column = _label_column(table, root, label_column)
        self.labels = np.full(len(table), NO_LABEL)
        self.classes = None
        if label_column is not None:
            if with_label:
                self.labels = _labels(table, label_column)
            names = getattr(table.features[label_column], 'names', None)
            self.classes = names and tuple(names)
        lacking = np.flatnonzero(self.labels < 0)
        self.without_label = len(lacking)
        self.first_without = (
            f'row {lacking[0]}; the columns are {table.column_names}, the '
            f'label column is {label_column!r}' if len(lacking) else '')
        self.max_label = int(self.labels.max(initial=NO_LABEL))

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> str:
        """Return ``arrow://ROOT!/COLUMN/NUMBER``, which the backend reads."""
        return (f'{ARROW_PREFIX}{self.root}{ARROW_SEPARATOR}{self.column}/'
                f'{index}')

    def read(self, index: int) -> bytes:
        """Return the bytes of an image file."""
        return _read(self.root, self.column, index)


@register_backend('arrow', prefixes='arrow', force=True)
class ArrowBackend(BaseStorageBackend):
    """File backend that reads images by :meth:`ArrowPictures.path`."""

    def get(self, filepath: str) -> bytes:
        """Return the bytes of an image file."""
        root, _, place = str(filepath).removeprefix(ARROW_PREFIX).rpartition(
            ARROW_SEPARATOR)
        column, _, number = place.rpartition('/')
        return _read(root, column, int(number))

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Return an entry as text, for MMEngine's interface."""
        return self.get(filepath).decode(encoding)


@lru_cache(maxsize=8)
def open_table(root: str) -> Any:
    """Open the ``datasets.Dataset`` at a path, once a process.

    Raises:
        ImportError: If the package ``datasets`` is not installed.
        FileNotFoundError: If the path does not exist.
        ValueError: If the path is not of a data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError('HuggingFaceImages needs the package "datasets": '
                          "pip install 'mmdino[hf]'") from error
    if not osp.exists(root):
        raise FileNotFoundError(
            f'{root} does not exist; give a folder that Dataset.save_to_disk '
            'wrote, or a parquet file or a folder of parquet files')
    if osp.isfile(osp.join(root, 'dataset_info.json')):
        return datasets.load_from_disk(root)
    files = sorted(glob.glob(osp.join(glob.escape(root), '*.parquet')))
    if root.endswith('.parquet'):
        files = [root]
    if not files:
        hint = ''
        if osp.isfile(osp.join(root, 'dataset_dict.json')):
            hint = ' It is a DatasetDict: name one of its parts by subset=...'
        raise ValueError(
            f'{root} is neither a folder that Dataset.save_to_disk wrote nor '
            f'a parquet file or a folder of parquet files.{hint}')
    return datasets.Dataset.from_parquet(files)


def _image_column(table: Any, root: str, wanted: str | None) -> str:
    import datasets
    images = [
        name for name, feature in table.features.items()
        if isinstance(feature, datasets.Image)
    ]
    if wanted is None and len(images) != 1:
        raise ValueError(f'{root} has {len(images)} image columns {images} '
                         f'among {table.column_names}: name the one to use '
                         'by image_column')
    name = images[0] if wanted is None else wanted
    if name not in images:
        raise ValueError(
            f'image_column={name!r} of {root} is not an image column; these '
            f'are {images} among {table.column_names}. To make it one, call '
            'cast_column(NAME, datasets.Image()) before saving')
    return name


def _label_column(table: Any, root: str, wanted: str | None) -> str | None:
    import datasets
    if wanted is not None:
        if wanted not in table.column_names:
            raise ValueError(f'label_column={wanted!r} is not in {root}; its '
                             f'columns are {table.column_names}')
        return wanted
    found = [
        name for name, feature in table.features.items()
        if isinstance(feature, datasets.ClassLabel)
    ]
    if len(found) == 1:
        return found[0]
    return 'label' if 'label' in table.column_names else None


def _labels(table: Any, column: str) -> np.ndarray:
    """Return the labels (N,), int64, :data:`NO_LABEL` where there is none."""
    import pyarrow
    values = table.select_columns([column]).with_format('arrow')[:][column]
    if not pyarrow.types.is_integer(values.type):
        raise ValueError(f'the label column {column!r} holds {values.type} '
                         'and not integers: name another by label_column, or '
                         'give with_label=False to read no labels')
    return values.fill_null(NO_LABEL).to_numpy().astype(np.int64)


@lru_cache(maxsize=8)
def _undecoded(root: str, column: str) -> Any:
    """Return the data set with its image files left undecoded."""
    import datasets
    table = open_table(root).select_columns([column])
    return table.cast_column(column, datasets.Image(decode=False))


def _read(root: str, column: str, index: int) -> bytes:
    entry = _undecoded(root, column)[index][column]
    if entry is None:
        raise ValueError('there is no image in this row')
    if entry['bytes'] is not None:
        return entry['bytes']
    with open(entry['path'], 'rb') as file:
        return file.read()
