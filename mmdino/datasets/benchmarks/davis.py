"""The videos of DAVIS 2017 with the masks of their objects."""
import os
import os.path as osp
from collections.abc import Callable, Sequence

from mmengine.dataset import BaseDataset

from mmdino.datasets.transforms import build_steps
from mmdino.registry import DATASETS


@DATASETS.register_module()
class DAVIS(BaseDataset):
    """The sequences of a split of DAVIS 2017, in the order of its list.

    ``data_root`` is the folder of the archive DAVIS-2017-trainval-480p::

        ImageSets/2017/val.txt               a sequence's name a line
        JPEGImages/480p/SEQUENCE/00000.jpg   and so on
        Annotations/480p/SEQUENCE/00000.png  the objects' numbers, a frame each

    An item is a sequence: a dict with ``sequence`` (its name) and
    ``frame_paths`` and ``mask_paths`` (F each), which
    :class:`LoadSequence` reads.

    Args:
        data_root (str): The folder.
        split (str): Name of the list, 'val' or 'train'.
        pipeline (Sequence | dict): Transforms, or a single one.
        **kwargs: The rest of MMEngine's BaseDataset: ``indices``, ...

    Raises:
        FileNotFoundError: If the list, a sequence's folder, or the image or
            the mask of a frame does not exist. Names the first one.
        ValueError: If the list or a sequence is empty.
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'val',
                 pipeline: Sequence | dict = (),
                 **kwargs) -> None:
        self.split = split
        super().__init__(
            data_root=osp.expanduser(data_root),
            pipeline=build_steps(pipeline).transforms,
            test_mode=True,
            **kwargs)
        # MMEngine takes a string in `metainfo` for a file to read.
        self._metainfo['split'] = split

    def load_data_list(self) -> list[dict]:
        """List the files of each sequence."""
        path = osp.join(self.data_root, 'ImageSets', '2017',
                        f'{self.split}.txt')
        _require(path, osp.isfile, 'the list of sequences')
        with open(path) as file:
            names = file.read().split()
        if not names:
            raise ValueError(f'{path} names no sequence')
        return [self._list_sequence(name) for name in names]

    def _list_sequence(self, name: str) -> dict:
        frames = osp.join(self.data_root, 'JPEGImages', '480p', name)
        masks = osp.join(self.data_root, 'Annotations', '480p', name)
        _require(frames, osp.isdir, f'the frames of the sequence {name!r}')
        _require(masks, osp.isdir, f'the masks of the sequence {name!r}')
        numbers, mask_numbers = _stems(frames, '.jpg'), _stems(masks, '.png')
        if not numbers:
            raise ValueError(f'{frames} holds no frame (*.jpg)')
        counts = (f'{len(mask_numbers)} masks for the {len(numbers)} frames '
                  f'of the sequence {name!r}: one of them')
        for number in sorted({*numbers, *mask_numbers}):
            _require(osp.join(frames, f'{number}.jpg'), osp.isfile, counts)
            _require(osp.join(masks, f'{number}.png'), osp.isfile, counts)
        return dict(
            sequence=name,
            frame_paths=[osp.join(frames, f'{n}.jpg') for n in numbers],
            mask_paths=[osp.join(masks, f'{n}.png') for n in numbers])


def _stems(folder: str, extension: str) -> list[str]:
    """Names of the folder's files of a kind, sorted, without extension."""
    return sorted(
        name.removesuffix(extension) for name in os.listdir(folder)
        if name.endswith(extension) and name[0] != '.')


def _require(path: str, exists: Callable[[str], bool], what: str) -> None:
    if not exists(path):
        raise FileNotFoundError(
            f'{path} does not exist: {what}. DAVIS needs the layout of '
            'DAVIS-2017-trainval-480p.zip below data_root: ImageSets/2017, '
            'JPEGImages/480p and Annotations/480p.')
