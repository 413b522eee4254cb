"""Draw what the class token attends to, in images or in a video:

    python tools/visualization/attention.py INPUT --checkpoint CHECKPOINT

INPUT is an image, a folder of images, a zip archive or a video, of any size
and aspect. Each image gets a folder with a map a head, their mean, the mask
and the overlay, as large as the image, and overview.png shows the first
twelve. A video gets a video. MMEngine's checkpoints hold their config.
"""
import argparse
import itertools
from collections import Counter
from pathlib import Path
from typing import List

from mmdino.apis import get_model
from mmdino.datasets import Images
from mmdino.datasets.listing import is_image
from mmdino.datasets.transforms import LoadImage
from mmdino.engine.arguments import CHECKPOINT, add_download
from mmdino.pictures.attention import (AttentionMaps, draw_attention,
                                       draw_video, write_pictures)
from mmdino.utils.progress import track

SHOWN = 12  # images in the overview


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', type=Path)
    parser.add_argument('--checkpoint', required=True, help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help='file or name, if the checkpoint holds none')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/attention'))
    parser.add_argument(
        '--size', type=int, help='pixels of the short side the network sees')
    parser.add_argument(
        '--mass',
        type=float,
        default=0.6,
        help='share of the attention that the mask keeps')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not args.input.exists():
        raise FileNotFoundError(f'There is no file or folder {args.input}.')
    is_video = args.input.is_file() and not (is_image(args.input.name)
                                             or args.input.suffix == '.zip')
    paths = [] if is_video else find_images(args.input)
    model = get_model(args.config, args.checkpoint)
    maps = AttentionMaps(model, args.size, args.mass)
    args.out.mkdir(parents=True, exist_ok=True)
    if is_video:
        out = args.out / f'{args.input.stem}_attention.mp4'
        print(f'{out}: {draw_video(maps, args.input, out)} frames')
    else:
        draw_images(maps, paths, args.out)


def find_images(source: Path) -> List[str]:
    if is_image(source.name):
        return [str(source)]
    images = Images(str(source), with_label=False)
    return [images.get_data_info(i)['img_path'] for i in range(len(images))]


def draw_images(maps: AttentionMaps, paths: List[str], out: Path) -> None:
    load = LoadImage()
    shown = []
    for path, folder in track(list(zip(paths, name_folders(paths))), 'Image'):
        image = load(dict(img_path=path))['img']
        attention = maps.attend(image)
        write_pictures(maps.pictures(image, attention), out / folder)
        if len(shown) < SHOWN:
            shown.append((image[..., ::-1], attention))
    draw_attention(*zip(*shown), out=out / 'overview.png', mass=maps.mass)
    print(f'In {out}: overview.png and {len(paths)} folders')


def name_folders(paths: List[str]) -> List[str]:
    """The images' names without extension, numbered where they are equal.

    A number is passed over where an image has that name of its own.
    """
    stems = [Path(path).stem for path in paths]
    counts, taken, names = Counter(stems), set(stems), []
    numbers = {stem: itertools.count() for stem in counts}
    for name in stems:
        if counts[name] > 1:
            name = next(f'{name}_{i}' for i in numbers[name]
                        if f'{name}_{i}' not in taken)
            taken.add(name)
        names.append(name)
    return names


if __name__ == '__main__':
    main()
