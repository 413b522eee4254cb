"""Files of features with labels, and the data set of their rows.

N images, D features.
"""
from pathlib import Path
from typing import List, NamedTuple, Optional, Union
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
        labels: (N,) int64 from 0, or None without ground truth.
        paths: N file names, '' for images that are in no file.
        classes: Names of the labels, if the data set has such.
    """
    features: Tensor
    labels: Optional[Tensor]
    paths: List[str]
    classes: Optional[List[str]] = None


def save_features(path: Union[str, Path], data: Features) -> None:
    """Write an uncompressed ``.npz``, as a whole or not at all."""
    arrays = dict(features=data.features.numpy(), paths=np.array(data.paths))
    if data.labels is not None:
        arrays['labels'] = data.labels.numpy()
    if data.classes is not None:
        arrays['classes'] = np.array(data.classes)
    with replaced(str(path)) as part, open(part, 'wb') as file:
        np.savez(file, **arrays)


def load_features(path: Union[str, Path]) -> Features:
    """Read what :func:`save_features` wrote; nothing is unpickled.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or a damaged one.
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
        raise ValueError(f'{path} is no feature file, or a damaged one: '
                         f'{error}. Extract the features again.') from error
    labels, classes = arrays.get('labels'), arrays.get('classes')
    return Features(
        torch.from_numpy(features),
        None if labels is None else torch.from_numpy(labels), paths,
        None if classes is None else classes.tolist())


@DATASETS.register_module()
class FeatureRows(BaseDataset):
    """The rows of a feature file, for :class:`SavedFeatures`.

    An item is a dict with ``inputs`` (D,) float32 and ``data_samples``, which
    has ``img_path`` and, if the file has labels, ``gt_label``.

    Args:
        path (str): A file that :func:`save_features` wrote.
        **kwargs: The rest of MMEngine's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or a damaged one.
    """

    def __init__(self, path: str, **kwargs) -> None:
        self.path = path
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List names and labels; the features stay in one tensor."""
        data = load_features(self.path)
        self.features = data.features
        if data.classes is not None:
            self._metainfo['classes'] = tuple(data.classes)
        items = [
            dict(img_path=path, row=row) for row, path in enumerate(data.paths)
        ]
        if data.labels is not None:
            for item, label in zip(items, data.labels.tolist()):
                item['gt_label'] = label
        return items

    def __getitem__(self, index: int) -> dict:
        item = self.get_data_info(index)
        sample = DataSample(metainfo=dict(img_path=item['img_path']))
        if 'gt_label' in item:
            sample.set_gt_label(item['gt_label'])
        return dict(inputs=self.features[item['row']], data_samples=sample)
