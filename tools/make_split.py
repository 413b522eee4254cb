"""Write a list file of the images whose labels low-shot learning may use:

    python tools/make_split.py data/imagenet --fraction 0.01 --seed 0

writes data/imagenet/low-shot_0.01_seed0.txt. --names FILE uses a published
split instead, with one file name a line, such as SimCLR's 1percent.txt.
"""
import argparse
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
        chosen = find(items, args.names)
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


def find(items: list[dict], names: Path) -> list[int]:
    """Return the indices of the images that a file names.

    Folders in the names are ignored.

    Raises:
        FileNotFoundError: If there is no image of a name.
    """
    place = {Path(item['img_path']).name: i for i, item in enumerate(items)}
    text = names.read_text(encoding='utf-8', errors='surrogateescape')
    wanted = [Path(line).name for line in text.splitlines()]
    missing = [name for name in wanted if name not in place]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(wanted)} images of {names} do not '
            f'exist in train/; the first is {missing[0]!r}. Check ROOT, or '
            'use the split of this data set.')
    return sorted(place[name] for name in wanted)


if __name__ == '__main__':
    run_tool(main)
