"""Features of many images on disk, read one by one.

A folder holds files ``features-NNNNN.safetensors`` and ``images.json``. The
tensors are named by the position of the image in the list that was given.
``images.json`` lists the images and is written last: where it is missing, the
features are incomplete.
"""
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmpretrain.structures import DataSample
from safetensors import safe_open
from safetensors.torch import save_file

from mmdino.weights.io import replaced

INDEX = 'images.json'
BYTES_PER_FILE = 256 * 2**20


def save_features(samples: Iterable[DataSample],
                  folder: str | Path,
                  dtype: torch.dtype = torch.float16) -> None:
    """Write the ``feature`` of samples while they are computed.

    Args:
        samples: Samples with ``feature`` (a tensor of any shape),
            ``sample_idx`` and ``img_path``.
        folder: A new or empty folder.
        dtype: Type of the written numbers.

    Raises:
        FileExistsError: If the folder is not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f'{folder} is not empty: name a new or an empty '
                              'folder for the features.')
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, part in enumerate(_parts(samples, dtype)):
        name = f'features-{number:05d}.safetensors'
        with replaced(str(folder / name)) as path:
            save_file({str(s.sample_idx): s.feature for s in part}, path)
        entries += [
            dict(
                name=s.img_path,
                index=s.sample_idx,
                shape=[*s.feature.shape],
                file=name) for s in part
        ]
    with replaced(str(folder / INDEX)) as path:
        Path(path).write_text(json.dumps(dict(images=entries), indent=1))


class SavedFeatures(Sequence):
    """Features on disk: ``[i]`` reads the tensor of the i-th image.

    Args:
        folder: A folder that :func:`save_features` wrote.

    Attributes:
        names (list[str]): Names of the N images.
        indices (list[int]): Positions of the images in the list that was
            given. Those of unreadable images are missing.
        shapes (list[tuple[int, ...]]): Shapes of the images' features.

    Raises:
        FileNotFoundError: If the folder holds no features, or incomplete ones.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.is_file():
            raise FileNotFoundError(
                f'{index} is missing: {folder} holds no features, or their '
                'extraction was interrupted. Extract them again.')
        entries = json.loads(index.read_text())['images']
        self.names = [entry['name'] for entry in entries]
        self.indices = [entry['index'] for entry in entries]
        self.shapes = [tuple(entry['shape']) for entry in entries]
        self._files = [entry['file'] for entry in entries]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: Any) -> Any:
        """Read the features of image ``i``, or a list of them for a slice."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        with safe_open(self.folder / self._files[i], 'pt') as file:
            return file.get_tensor(str(self.indices[i]))


def _parts(samples: Iterable[DataSample],
           dtype: torch.dtype) -> Iterator[list[DataSample]]:
    """Group samples by file; move features to the CPU and convert them."""
    part: list[DataSample] = []
    size = 0
    for sample in samples:
        feature = sample.feature.to('cpu', dtype).contiguous()
        if part and size + feature.nbytes > BYTES_PER_FILE:
            yield part
            part, size = [], 0
        sample.set_field(feature, 'feature')
        part.append(sample)
        size += feature.nbytes
    if part:
        yield part
