"""Draw what the class token attends to, in images or in a video:

    python tools/visualization/attention.py INPUT --checkpoint CHECKPOINT

INPUT is an image, a folder of images, a zip archive or a video, of any size
and aspect ratio. For each image a folder is written with one map for each
head, their mean, the mask and the overlay, in the size of the image;
overview.png shows the first twelve images. For a video a video is written.
"""
import argparse
from pathlib import Path

from mmdino.apis import get_model
from mmdino.engine.arguments import add_picture_arguments
from mmdino.pictures.attention import AttentionMaps, draw_attention
from mmdino.pictures.files import (draw_video, find_images, is_video,
                                   name_stems, read_images, write_pictures)
from mmdino.pictures.inputs import as_colour
from mmdino.utils.tool import Parser, run_tool

SHOWN = 12  # images in the overview


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'input',
        type=Path,
        help='image, folder of images, zip archive or video')
    add_picture_arguments(parser, 'attention')
    parser.add_argument(
        '--mass',
        type=float,
        default=0.6,
        help='fraction of the attention that the mask keeps (default: 0.6)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    paths = [] if is_video(args.input) else find_images(args.input)
    model = get_model(args.config, args.checkpoint, args.device)
    size = model.preprocessing['size'] if args.size is None else args.size
    maps = AttentionMaps(model, size, args.mass)
    args.out.mkdir(parents=True, exist_ok=True)
    if is_video(args.input):
        out = args.out / f'{args.input.stem}_attention.mp4'
        print(f'{out}: {draw_video(maps.draw, args.input, out)} frames')
    else:
        draw_images(maps, paths, args.out)


def draw_images(maps: AttentionMaps, paths: list[str], out: Path) -> None:
    shown, folders, count = [], name_stems(paths), 0
    images = read_images(paths, color_type=maps.model.color_type)
    for count, (place, image) in enumerate(images, 1):
        attention, image = maps.attend(image), as_colour(image)
        write_pictures(maps.pictures(image, attention), out / folders[place])
        if len(shown) < SHOWN:
            shown.append((image[..., ::-1], attention))
    draw_attention(*zip(*shown), out=out / 'overview.png', mass=maps.mass)
    print(f'In {out}: overview.png and {count} folders')


if __name__ == '__main__':
    run_tool(main)
