"""Results on DAVIS 2017 as files that the benchmark's own scorer reads."""
import csv
from pathlib import Path
from typing import Dict, Iterable, Sequence

import numpy as np
from PIL import Image

from .metrics.davis_metric import ObjectScores, overall

# The colours of the benchmark's annotations: those of PASCAL VOC, with 191
# for 192, then greys.
COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128),
          (128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0),
          (191, 0, 0), (64, 128, 0), (191, 128, 0), (64, 0, 128),
          (191, 0, 128), (64, 128, 128), (191, 128, 128), (0, 64, 0),
          (128, 64, 0), (0, 191, 0), (128, 191, 0), (0, 64, 128),
          (128, 64, 128), *((i, i, i) for i in range(22, 256)))


def save_masks(folder: Path, names: Sequence[str],
               masks: Iterable[np.ndarray]) -> None:
    """Write a palette PNG for each frame of a sequence.

    Args:
        folder (Path): Of the sequence; made if need be.
        names (Sequence[str]): File names without extension, F.
        masks (Iterable[np.ndarray]): F masks (H, W), uint8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in zip(names, masks):
        image = Image.fromarray(mask)
        image.putpalette(np.array(COLORS, np.uint8).tobytes())
        image.save(folder / f'{name}.png')


def save_tables(folder: Path, split: str, objects: Dict[str,
                                                        ObjectScores]) -> None:
    """Write the benchmark's two tables, as fractions.

    ``global_results-SPLIT.csv`` has the means over all objects,
    ``per-sequence_results-SPLIT.csv`` a row an object.

    Args:
        folder (Path): Made if need be.
        split (str): Of the data set.
        objects (dict[str, ObjectScores]): By SEQUENCE_NUMBER.
    """
    names = ('J&F-Mean', 'J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall',
             'F-Decay')
    rows = [[name, *map(_format, (scores.region.mean, scores.contour.mean))]
            for name, scores in objects.items()]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f'global_results-{split}.csv', names,
           [map(_format,
                overall(objects).values())])
    _write(folder / f'per-sequence_results-{split}.csv',
           ('Sequence', 'J-Mean', 'F-Mean'), rows)


def _format(value: float) -> str:
    return f'{value:.3f}'


def _write(path: Path, head: Sequence[str], rows: Iterable) -> None:
    with open(path, 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([head, *rows])
