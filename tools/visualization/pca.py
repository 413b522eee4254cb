"""Draw the first three principal components of patches as colours.

    python tools/visualization/pca.py INPUT --checkpoint CHECKPOINT

INPUT is an image, a folder, a zip archive or a video. The components are those
of all images together (of at most 200 images, or 16 frames of a video), so
that similar patches have the same colour in all images. --foreground leaves
the background black. NAME.png is written for each image, and overview.png
shows the first sixteen. For a video a video is written.
"""
import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mmdino.apis import FeatureExtractor, get_model
from mmdino.engine.arguments import add_picture_arguments
from mmdino.pictures.dense import PatchColours, draw_pairs, enlarge
from mmdino.pictures.files import (draw_video, find_images, is_video,
                                   name_stems, read_frames, read_images,
                                   write_pictures)
from mmdino.utils.tool import Parser, run_tool

SHOWN = 16  # images in the overview
LEARNT_FROM = 200  # largest number of images that give the components
FRAMES = 16  # number of frames of a video that give the components


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'input',
        type=Path,
        help='image, folder of images, zip archive or video')
    add_picture_arguments(parser, 'pca')
    parser.add_argument(
        '--foreground', action='store_true', help='leave the background black')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    paths = [] if is_video(args.input) else find_images(args.input)
    extract = FeatureExtractor(
        get_model(args.config, args.checkpoint, args.device),
        what='patches',
        size=args.size,
        batch_size=8)
    args.out.mkdir(parents=True, exist_ok=True)
    if not paths:
        draw_frames(extract, args)
        return
    step = -(-len(paths) // LEARNT_FROM)
    colours = PatchColours(
        extract.extract(paths[::step]).features, args.foreground)
    draw_images(extract, colours, paths, args.out)


def draw_images(extract: FeatureExtractor, colours: PatchColours,
                paths: list[str], out: Path) -> None:
    shown, names, count = [], name_stems(paths), 0
    for count, (place, image) in enumerate(read_images(paths), 1):
        image = image[..., ::-1]
        drawn = enlarge(colours(extract([paths[place]])[0]), image.shape[:2])
        write_pictures({names[place]: drawn[..., ::-1]}, out)
        if len(shown) < SHOWN:
            shown.append((image, drawn))
    draw_pairs(*zip(*shown), out=out / 'overview.png')
    print(f'In {out}: overview.png and {count} images')


def draw_frames(extract: FeatureExtractor, args: argparse.Namespace) -> None:

    def patches(frame: np.ndarray):
        return extract([Image.fromarray(frame[..., ::-1])])[0]

    frames = read_frames(args.input, FRAMES)
    colours = PatchColours([*map(patches, frames)], args.foreground)
    out = args.out / f'{args.input.stem}_pca.mp4'
    count = draw_video(
        lambda frame: enlarge(colours(patches(frame)), frame.shape[:2])[
            ..., ::-1].copy(), args.input, out)
    print(f'{out}: {count} frames')


if __name__ == '__main__':
    run_tool(main)
