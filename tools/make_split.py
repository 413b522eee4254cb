"""Write a list file of the images whose labels low-shot learning may use:

    python tools/make_split.py data/imagenet --fraction 0.01 --seed 0

writes data/imagenet/low-shot_0.01_seed0.txt. --names FILE uses a published
split instead, with one image a line, such as SimCLR's 1percent.txt: its path
relative to train/, or the name of its file alone if no other has that name.
"""
import argparse
from collections import defaultdict
from pathlib import Path

from mmdino.datasets import Images
from mmdino.functional.low_shot import balanced_split
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights.io import replaced


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('root', type=Path, help='folder with train/CLASS/')
    parser.add_argument(
        '--fraction',
        type=float,
        default=0.01,
        help='fraction of the images of each class (default: 0.01)')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the choice (default: 0)')
    parser.add_argument(
        '--names',
        type=Path,
        help='file with the names of the images to choose, instead of a '
        'random fraction')
    parser.add_argument(
        '--out',
        type=Path,
        help='list file to write (default: a file in ROOT, see above)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    images = Images(str(args.root), subset='train', with_label=True)
    items = [images.get_data_info(i) for i in range(len(images))]
    if args.names:
        chosen = find(items, args.names, args.root / 'train')
        name = f'low-shot_{args.names.stem}.txt'
    else:
        labels = [item['gt_label'] for item in items]
        chosen = balanced_split(labels, args.fraction, args.seed)
        name = f'low-shot_{args.fraction:g}_seed{args.seed}.txt'
    start = args.root / 'train'
    lines = [
        f'{Path(items[i]["img_path"]).relative_to(start).as_posix()} '
        f'{items[i]["gt_label"]}\n' for i in chosen
    ]
    out = args.out or args.root / name
    with replaced(str(out)) as part:
        Path(part).write_text(
            ''.join(lines), encoding='utf-8', errors='surrogateescape')
    print(f'{out}: {len(lines)} of {len(items)} images')


def find(items: list[dict], names: Path, start: Path) -> list[int]:
    """Return the indices of the images that a file names.

    An image is named by its path relative to ``start``. If there is no such
    path, the folders are ignored, provided that one image alone has the name.

    Raises:
        FileNotFoundError: If there is no image of a name.
        ValueError: If several images have a name.
    """
    place = defaultdict(list)
    for i, item in enumerate(items):
        path = Path(item['img_path'])
        place[path.name].append(i)
        if path.name != path.relative_to(start).as_posix():
            place[path.relative_to(start).as_posix()].append(i)
    text = names.read_text(encoding='utf-8', errors='surrogateescape')
    lines = text.splitlines()
    wanted = [Path(line).as_posix() for line in lines if line.strip()]
    wanted = [name if name in place else Path(name).name for name in wanted]
    missing = [name for name in wanted if name not in place]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(wanted)} images of {names} do not '
            f'exist in train/; the first is {missing[0]!r}. Check ROOT, or '
            'use the split of this data set.')
    several = [name for name in wanted if len(place[name]) > 1]
    if several:
        raise ValueError(
            f'{len(place[several[0]])} images in train/ have the name '
            f'{several[0]!r} in {names}: give their paths relative to train/, '
            'CLASS/NAME.')
    return sorted(place[name][0] for name in wanted)


if __name__ == '__main__':
    run_tool(main)
