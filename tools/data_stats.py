"""Compute mean and standard deviation of a set of images, for a config:

    python tools/data_stats.py DATA [DATA ...] --sample 5000

DATA are folders, zip archives or list files, as for data_root in a config. It
prints the lines to put into model.data_preprocessor and, as errors, the files
that it cannot read. Of more than 10,000 images it reads so many at random;
--sample 0 reads all. Give --color-type and
--value-range the values of LoadImage in the config.
"""
import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mmdino.datasets import Images
from mmdino.datasets.transforms import UnreadableImageError
from mmdino.utils.progress import track
from mmdino.utils.tool import Parser, run_tool

SHOWN = 20  # errors that are printed


class Stats(NamedTuple):
    """Statistics of C channels; three channels are RGB."""
    mean: np.ndarray  # (C,)
    std: np.ndarray  # (C,)
    images: int  # number of images that were read
    unreadable: int  # number of images that could not be read


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'data', nargs='+', help='folders, zip archives or list files')
    parser.add_argument(
        '--subset', default='', help='use only this folder in DATA')
    parser.add_argument(
        '--sample',
        type=int,
        default=10000,
        help='number of random images to read, 0 for all (default: 10000)')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the sample (default: 0)')
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
    print(f'# {stats.images} of {len(images)} images' + (
        f'; {stats.unreadable} could not be read' if stats.unreadable else ''))
    print(f'mean = {rounded(stats.mean)}')
    print(f'std = {rounded(stats.std)}')
    print(f'bgr_to_rgb = {len(stats.mean) == 3}')


def parse_range(words: list | None) -> None | str | tuple:
    """Return the ``value_range`` of LoadImage for words of the command line.
    """
    if words is None or words[0] in ('full', 'file'):
        return words and words[0]
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        return tuple(words)  # LoadImage says what it takes


def sample(count: int, size: int, seed: int) -> np.ndarray:
    """Return ``size`` random numbers below ``count``, in ascending order."""
    if not 0 < size < count:
        return np.arange(count)
    chosen = np.random.default_rng(seed).choice(count, size, replace=False)
    return np.sort(chosen)


def read(images: Images, chosen: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield images (H, W, C), None for those that cannot be read.

    The first errors are printed at the end, with the number of the others.
    """
    errors, count = [], 0
    for index in chosen:
        try:
            yield images.prepare_data(int(index))['img']
        except UnreadableImageError as error:
            errors, count = [*errors, str(error)][:SHOWN], count + 1
            yield None
    if count > SHOWN:
        errors.append(f'... and {count - SHOWN} more could not be read')
    for error in errors:
        print(error, file=sys.stderr)


def measure(pictures: Iterable[np.ndarray | None]) -> Stats:
    """Compute mean and standard deviation over the pixels of all images.

    The mean and the squared deviations of each image are merged into those of
    all (Chan et al. 1979), which avoids subtracting large squares.

    Args:
        pictures: Images (H, W, C), None for unreadable ones.

    Raises:
        ValueError: If no image can be read, or the numbers of channels differ.
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
                f'There are images of {len(mean)} and of {img.shape[2]} '
                'channels: give --color-type color, or measure them '
                'separately.')
        pixels = img.reshape(-1, img.shape[2]).astype(np.float64)
        own = pixels.mean(axis=0)
        total = count + len(pixels)
        squares = squares + (
            (pixels - own)**2).sum(axis=0) + (own - mean)**2 * (
                count * len(pixels) / total)
        mean = mean + (own - mean) * (len(pixels) / total)
        count, images = total, images + 1
    if not images:
        raise ValueError(f'None of {unreadable} images can be read: check '
                         'DATA and --color-type.')
    std = np.sqrt(squares / count)
    if len(mean) == 3:  # images are read as BGR
        mean, std = mean[::-1], std[::-1]
    return Stats(mean, std, images, unreadable)


def rounded(values: np.ndarray) -> list:
    """Round numbers to six significant digits."""
    return [float(f'{value:.6g}') for value in values]


if __name__ == '__main__':
    run_tool(main)
