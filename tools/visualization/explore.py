"""Write a web page that shows images as a network sees them, in one file:

    python tools/visualization/explore.py FOLDER --checkpoint CHECKPOINT

Open the page in a browser; it needs no internet. A click on a patch of an
image highlights similar patches in all images, and a slider sets the smallest
similarity. Layers show the principal components of the patches and the
attention of each head, and the most similar images are below. A page of 50
images has a few megabytes.
"""
import argparse
from pathlib import Path

import torch

from mmdino.apis import get_model
from mmdino.engine.arguments import add_picture_arguments
from mmdino.models import FrozenTeacher
from mmdino.models.backbones.attention import has_attention
from mmdino.pictures.explore import Seen, write_page
from mmdino.pictures.files import find_images, name_stems, read_images
from mmdino.pictures.inputs import as_colour, network_input
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'input', type=Path, help='folder of images, zip archive or image')
    add_picture_arguments(parser, 'explore.html')
    parser.add_argument(
        '--pictures',
        type=int,
        default=50,
        help='largest number of images, taken evenly from all (default: 50)')
    args = parser.parse_args()
    if args.pictures < 1:
        parser.error(f'--pictures must be positive, got {args.pictures}')
    return args


def main() -> None:
    args = parse_args()
    paths = find_images(args.input)
    count = min(args.pictures, len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    if count < len(paths):
        print(f'The page has {count} of {len(paths)} images, evenly spread: '
              'for more give --pictures.')
    model = get_model(args.config, args.checkpoint, args.device)
    model.require_patches()
    size = args.size or model.preprocessing['size']
    names = name_stems(chosen)
    pictures = [
        look(model, size, image, names[place])
        for place, image in read_images(chosen, 'Picture', model.color_type)
    ]
    out = args.out
    if out.suffix != '.html':
        out = out / 'explore.html'
    size = write_page(pictures, out, args.input.name)
    print(f'{out}: {len(pictures)} images, {size / 2**20:.1f} MiB')


@torch.no_grad()
def look(model: FrozenTeacher, size: int, image, name: str) -> Seen:
    """Compute patches, attention and feature of an image (H, W, C)."""
    inputs = network_input(model, image, size)
    patches = model.patches(inputs)[0].float().cpu()
    attention = None
    if has_attention(model.backbone):
        attention = model.class_attention(inputs)[0].float().cpu()
    feature = model.features(inputs)[0].float().cpu()
    return Seen(name, as_colour(image)[..., ::-1], patches, feature, attention)


if __name__ == '__main__':
    run_tool(main)
