"""Revisited Oxford and Paris (Radenovic et al. 2018, arXiv 1803.11285)."""
import os.path as osp
from collections.abc import Sequence

import numpy as np

from mmdino.datasets.benchmarks.layouts import BenchmarkDataset, list_files
from mmdino.datasets.benchmarks.plain_pickle import load_plain_pickle
from mmdino.registry import DATASETS

SUBSETS = ('database', 'queries')
KINDS = ('easy', 'hard', 'junk')


@DATASETS.register_module()
class RevisitedImages(BenchmarkDataset):
    """The database or the queries of ``roxford5k`` or ``rparis6k``.

    The folders are those that the benchmark's own code expects::

        roxford5k/
            gnd_roxford5k.pkl
            jpg/all_souls_000000.jpg ...

    The annotation file is named after the folder. It is a pickle, which is
    read without running any code in it (:func:`.load_plain_pickle`). Items
    have ``img_path``. Those of the queries also have

    - ``bbox``, (4,): x1, y1, x2, y2 of the queried object in pixels of the
      stored image, for :class:`.CropToBox`;
    - ``annotation``: a dict of ``easy``, ``hard`` and ``junk``, int64 arrays
      of indices in the database.

    Args:
        data_root: The folder ``roxford5k`` or ``rparis6k``.
        subset: 'database' or 'queries'.
        pipeline: As in :class:`.BenchmarkDataset`.
        **kwargs: As in :class:`.BenchmarkDataset`.

    Raises:
        FileNotFoundError: If the annotation or an image is missing; names it.
        ValueError: If ``subset`` is neither of the two, or the annotation file
            has another form than the benchmark's.
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
        """List the database, or the queries with their annotations."""
        ground_truth = read_ground_truth(self.data_root)
        queries = self.subset == 'queries'
        names = ground_truth['qimlist' if queries else 'imlist']
        items = [dict(img_path=path) for path in self._paths(names)]
        if queries:
            for item, entry in zip(items, ground_truth['gnd']):
                item['bbox'] = np.asarray(entry['bbx'], dtype=np.float64)
                item['annotation'] = {k: _places(entry[k]) for k in KINDS}
        return items

    def _paths(self, names: Sequence[str]) -> list[str]:
        folder = osp.join(self.data_root, 'jpg')
        present = list_files(folder)
        missing = [name for name in names if f'{name}.jpg' not in present]
        if missing:
            raise FileNotFoundError(
                f'{folder} lacks {len(missing)} of the {len(names)} images of '
                f'the {self.subset}; the first is {missing[0]}.jpg. Put all '
                'images of the benchmark into this one folder.')
        return [osp.join(folder, f'{name}.jpg') for name in names]


def read_ground_truth(folder: str) -> dict:
    """Read and check ``gnd_NAME.pkl`` of the folder ``NAME``.

    Returns:
        A dict of ``imlist`` and ``qimlist``, the names of the images of the
        database and of the queries without extension, and ``gnd``, a list
        with a dict of ``bbx``, ``easy``, ``hard`` and ``junk`` for each query.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafePickleError: If the file holds more than plain data.
        ValueError: If the file has another form.
    """
    path = osp.join(folder, f'gnd_{osp.basename(folder)}.pkl')
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'There is no annotation {path}. Expected the layout of the '
            'benchmark, such as roxford5k/gnd_roxford5k.pkl beside '
            'roxford5k/jpg/.')
    ground_truth = load_plain_pickle(path)
    error = _find_error(ground_truth)
    if error:
        raise ValueError(f'{path} is not an annotation of revisited Oxford or '
                         f'Paris: {error}. Take it from its official source.')
    return ground_truth


def _find_error(ground_truth: dict) -> str:
    """Describe what is wrong with an annotation, '' if nothing is."""
    if not isinstance(ground_truth, dict):
        return f'it holds a {type(ground_truth).__name__}, not a dict'
    missing_keys = {'imlist', 'qimlist', 'gnd'} - set(ground_truth)
    if missing_keys:
        return f'it lacks {sorted(missing_keys)}'
    queries, entries = ground_truth['qimlist'], ground_truth['gnd']
    if len(queries) != len(entries):
        return f'it has {len(queries)} queries and {len(entries)} entries'
    for i, (query, entry) in enumerate(zip(queries, entries)):
        fault = _entry_error(entry, len(ground_truth['imlist']))
        if fault:
            return f'query {i} ({query}) {fault}'
    return ''


def _entry_error(entry: dict, size: int) -> str:
    missing_keys = {'bbx', *KINDS} - set(entry)
    if missing_keys:
        return f'lacks {sorted(missing_keys)}'
    if len(entry['bbx']) != 4:
        return f'has a bbx of {len(entry["bbx"])} numbers'
    places = np.concatenate([_places(entry[kind]) for kind in KINDS])
    outside = places[(places < 0) | (places >= size)]
    if len(outside):
        return f'names image {outside[0]} of a database of {size} images'
    return ''


def _places(places: Sequence[int]) -> np.ndarray:
    return np.asarray(places, dtype=np.int64).reshape(-1)
