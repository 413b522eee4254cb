"""Files of features with labels, and a data set of their rows.

N images, D features.
"""
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.registry import DATASETS
from mmdino.weights.io import replaced


class Features(NamedTuple):
    """The features of all images of a data set, in its order.

    Attributes:
        features: (N, D) float32.
        labels: (N,) int64, from 0 on; None without ground truth.
        paths: N file names, '' for images that are not in a file.
        classes: Names of the labels, or None.
        indices: (N,) int64, ascending: the indices of the images in the data
            set; None if they are all images.
        left_out: Names of the images that could not be read.
    """
    features: Tensor
    labels: Tensor | None
    paths: list[str]
    classes: list[str] | None = None
    indices: Tensor | None = None
    left_out: list[str] = []


def save_features(path: str | Path, data: Features) -> None:
    """Write features to an uncompressed ``.npz``, completely or not at all."""
    arrays = dict(features=data.features.numpy(), paths=np.array(data.paths))
    if data.labels is not None:
        arrays['labels'] = data.labels.numpy()
    if data.classes is not None:
        arrays['classes'] = np.array(data.classes)
    if data.indices is not None:
        arrays['indices'] = data.indices.numpy()
    if data.left_out:
        arrays['left_out'] = np.array(data.left_out)
    with replaced(str(path)) as part, open(part, 'wb') as file:
        np.savez(file, **arrays)


def load_features(path: str | Path) -> Features:
    """Read a file of :func:`save_features`; nothing is unpickled.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind or damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'There is no feature file {str(path)!r}: '
            'tools/extract_features.py --checkpoint FILE --out DIR writes '
            'DIR/gallery.npz and DIR/queries.npz.')
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        features, paths = arrays['features'], arrays['paths'].tolist()
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise ValueError(f'{path} is not a feature file, or it is damaged: '
                         f'{error}. Extract the features again.') from error
    labels, indices = (
        torch.from_numpy(arrays[key]) if key in arrays else None
        for key in ('labels', 'indices'))
    classes = arrays['classes'].tolist() if 'classes' in arrays else None
    left_out = arrays['left_out'].tolist() if 'left_out' in arrays else []
    return Features(
        torch.from_numpy(features), labels, paths, classes, indices, left_out)


@DATASETS.register_module()
class FeatureRows(BaseDataset):
    """A data set of the rows of a feature file, for :class:`SavedFeatures`.

    An item has ``inputs``, (D,) float32, and ``data_samples`` with
    ``img_path`` and, if the file has labels, ``gt_label``.

    Args:
        path: A file that :func:`save_features` wrote.
        **kwargs: Other arguments of MMEngine's BaseDataset, such as
            ``indices``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind or damaged.
    """

    def __init__(self, path: str, **kwargs) -> None:
        self.path = path
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List names and labels; the features stay in ``self.features``."""
        data = load_features(self.path)
        self.features = data.features
        if data.classes is not None:
            self._metainfo['classes'] = tuple(data.classes)
        columns = dict(img_path=data.paths, row=range(len(data.paths)))
        if data.labels is not None:
            columns['gt_label'] = data.labels.tolist()
        return [dict(zip(columns, row)) for row in zip(*columns.values())]

    def __getitem__(self, index: int) -> dict:
        item = self.get_data_info(index)
        sample = DataSample(
            metainfo=dict(sample_idx=index, img_path=item['img_path']))
        if 'gt_label' in item:
            sample.set_gt_label(item['gt_label'])
        return dict(inputs=self.features[item['row']], data_samples=sample)
