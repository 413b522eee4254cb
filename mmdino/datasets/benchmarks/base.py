"""Base class of the data sets of benchmarks."""
import os
import os.path as osp
from collections.abc import Iterable, Sequence

from mmpretrain.datasets import BaseDataset

from mmdino.datasets.transforms import build_steps


class BenchmarkDataset(BaseDataset):
    """Base class of data sets in the layout in which they are distributed.

    Args:
        data_root: The folder.
        pipeline: Transforms, or a single one.
        **kwargs: The rest of mmpretrain's BaseDataset: ``indices``, ...

    Attributes:
        layout (str): What is to be where, for the error messages.
    """

    layout = ''

    def __init__(self,
                 data_root: str,
                 pipeline: Sequence | dict = (),
                 ann_file: str = '',
                 **kwargs) -> None:
        super().__init__(
            ann_file=ann_file,
            data_root=osp.normpath(osp.expanduser(data_root)),
            pipeline=build_steps(pipeline).transforms,
            **kwargs)

    def require(self, paths: Iterable[str], what: str) -> None:
        """Raise an error if files are missing; each folder is listed once.

        Raises:
            FileNotFoundError: Names the first one and says what it is.
        """
        listed = {}
        for path in paths:
            folder, name = osp.split(path)
            if folder not in listed:
                listed[folder] = list_files(folder)
            if name not in listed[folder]:
                raise FileNotFoundError(
                    f'{path} does not exist: {what}. {type(self).__name__} '
                    f'needs {self.layout}')


def list_files(folder: str) -> set[str]:
    """List the names of the files in a folder, without broken links."""
    if not osp.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {e.name for e in entries if e.is_file() or e.is_dir()}
