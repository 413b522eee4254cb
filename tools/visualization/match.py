"""Draw corresponding patches of two images.

    python tools/visualization/match.py FIRST SECOND --checkpoint CHECKPOINT

A pair of patches corresponds if each is the nearest one of the other by cosine
similarity. The most similar pairs are drawn. --bins compares patches together
with their neighbourhoods (arXiv 2112.05814).
"""
import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdino.apis import FeatureExtractor, get_model
from mmdino.datasets.transforms import LoadImage, UnreadableImageError
from mmdino.engine.arguments import add_picture_arguments
from mmdino.functional.dense import binned_descriptors, mutual_nearest
from mmdino.pictures.dense import draw_matches
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('first', type=Path, help='an image')
    parser.add_argument('second', type=Path, help='another image')
    add_picture_arguments(parser, 'match')
    parser.add_argument(
        '--pairs',
        type=int,
        default=30,
        help='largest number of pairs to draw (default: 30)')
    parser.add_argument(
        '--bins',
        action='store_true',
        help='compare patches together with their neighbourhoods')
    args = parser.parse_args()
    if args.pairs < 1:
        parser.error(f'--pairs must be positive, got {args.pairs}')
    for path in (args.first, args.second):
        if not path.is_file():
            parser.error(f'FIRST and SECOND must be image files, and {path} '
                         'is ' + ('a folder: name an image in it' if path.
                                  is_dir() else 'not there'))
    return args


def main() -> None:
    args = parse_args()
    extract = FeatureExtractor(
        get_model(args.config, args.checkpoint, args.device),
        what='patches',
        size=args.size)
    paths = [args.first, args.second]
    patches, _, _, left_out = extract.extract(paths)
    if left_out:
        raise UnreadableImageError('match.py needs both images: '
                                   f'{"; ".join(left_out)}')
    pairs, alike = mutual_nearest(*(describe(p, args.bins) for p in patches))
    load = LoadImage()
    images = [load(dict(img_path=str(p)))['img'][..., ::-1] for p in paths]
    points = np.concatenate([
        centres(pairs[:args.pairs, i], patches[i], images[i]) for i in range(2)
    ],
                            axis=1)
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out / f'{args.first.stem}_{args.second.stem}.png'
    draw_matches(*images, points, out)
    print(f'{out}: {len(points)} of {len(pairs)} pairs, cosine '
          f'{alike[0]:.2f} to {alike[len(points) - 1]:.2f}')


def describe(patches: Tensor, bins: bool) -> Tensor:
    """Return descriptors (h w, D') of patches (h, w, D); D' is D or more."""
    if bins:
        patches = torch.nn.functional.normalize(patches, dim=-1)
        patches = binned_descriptors(patches.permute(2, 0, 1)).permute(1, 2, 0)
    return patches.flatten(0, 1)


def centres(places: Tensor, patches: Tensor, image: np.ndarray) -> np.ndarray:
    """Return the centres (P, 2) of patches, x and y in pixels of the image.

    Args:
        places: Numbers (P,) of patches in the grid, row by row.
        patches: All patches (h, w, D).
        image: (H, W, 3).
    """
    height, width = patches.shape[:2]
    rows, columns = places // width, places % width
    return np.stack([(columns + .5) / width * image.shape[1],
                     (rows + .5) / height * image.shape[0]],
                    axis=1)


if __name__ == '__main__':
    run_tool(main)
