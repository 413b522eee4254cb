"""Mean and standard deviation of a set of pictures, for a config:

    python tools/data_stats.py DATA [DATA ...] --sample 5000

DATA is what data_root takes: folders, zip archives, list files. It prints
lines to put into model.data_preprocessor. --color-type and --value-range
have to be those of the LoadImage in the config.
"""
import argparse
from typing import Iterable, Iterator, NamedTuple, Optional, Tuple, Union

import numpy as np

from mmdino.datasets import Images
from mmdino.datasets.transforms import UnreadableImageError
from mmdino.utils.progress import track
from mmdino.utils.tool import Parser, run_tool


class Stats(NamedTuple):
    """Of C channels, three of them in RGB."""
    mean: np.ndarray  # (C,)
    std: np.ndarray  # (C,)
    images: int
    unreadable: int


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('data', nargs='+', help='folders, archives or lists')
    parser.add_argument('--subset', default='', help='a folder in DATA')
    parser.add_argument(
        '--sample',
        type=int,
        default=10000,
        help='so many of the pictures, by chance; 0 for all of them')
    parser.add_argument(
        '--seed', type=int, default=0, help='of the sample (default: 0)')
    parser.add_argument(
        '--color-type',
        default='unchanged',
        choices=('color', 'grayscale', 'unchanged'),
        help="channels, as LoadImage's color_type (default: unchanged)")
    parser.add_argument(
        '--value-range',
        nargs='+',
        help="'full', 'file' or two numbers: see LoadImage")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    load = dict(
        type='LoadImage',
        color_type=args.color_type,
        value_range=parse_range(args.value_range))
    images = Images(
        args.data, subset=args.subset, with_label=False, pipeline=[load])
    chosen = sample(len(images), args.sample, args.seed)
    stats = measure(read(images, track(chosen, 'Pictures')))
    print(f'# {stats.images} of {len(images)} pictures' + (
        f'; {stats.unreadable} could not be read' if stats.unreadable else ''))
    print(f'mean = {rounded(stats.mean)}')
    print(f'std = {rounded(stats.std)}')
    print(f'bgr_to_rgb = {len(stats.mean) == 3}')


def parse_range(words: Optional[list]) -> Union[None, str, Tuple[float, ...]]:
    """What LoadImage takes of the words on the command line."""
    if words is None or words[0] in ('full', 'file'):
        return words and words[0]
    return tuple(float(word) for word in words)


def sample(count: int, size: int, seed: int) -> np.ndarray:
    """``size`` of ``count`` numbers by chance, in ascending order."""
    if not 0 < size < count:
        return np.arange(count)
    chosen = np.random.default_rng(seed).choice(count, size, replace=False)
    return np.sort(chosen)


def read(images: Images, chosen: Iterable[int]) -> Iterator[np.ndarray]:
    """The pictures (H, W, C), None for those that cannot be read."""
    for index in chosen:
        try:
            yield images.prepare_data(int(index))['img']
        except UnreadableImageError:
            yield None


def measure(pictures: Iterable[Optional[np.ndarray]]) -> Stats:
    """Mean and standard deviation over the pixels of all pictures.

    Sums are kept by picture, as mean and squared deviations, and joined: no
    large squares are subtracted from each other (Chan et al. 1979).

    Raises:
        ValueError: If no picture can be read, or they differ in channels.
    """
    count, images, unreadable = 0, 0, 0
    mean = squares = None
    for img in pictures:
        if img is None:
            unreadable += 1
            continue
        if mean is None:
            mean = squares = np.zeros(img.shape[2])
        if img.shape[2] != len(mean):
            raise ValueError(
                f'pictures of {len(mean)} and of {img.shape[2]} channels: '
                "give --color-type color, or keep them apart")
        pixels = img.reshape(-1, img.shape[2]).astype(np.float64)
        own = pixels.mean(axis=0)
        total = count + len(pixels)
        squares = squares + (
            (pixels - own)**2).sum(axis=0) + (own - mean)**2 * (
                count * len(pixels) / total)
        mean = mean + (own - mean) * (len(pixels) / total)
        count, images = total, images + 1
    if not images:
        raise ValueError(f'none of {unreadable} pictures can be read')
    std = np.sqrt(squares / count)
    if len(mean) == 3:  # they are read as BGR
        mean, std = mean[::-1], std[::-1]
    return Stats(mean, std, images, unreadable)


def rounded(values: np.ndarray) -> list:
    """Six digits each."""
    return [float(f'{value:.6g}') for value in values]


if __name__ == '__main__':
    run_tool(main)
