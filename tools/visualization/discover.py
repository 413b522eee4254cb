"""Box one object in each image, without labels (LOST, arXiv 2109.14279):

    python tools/visualization/discover.py INPUT --checkpoint CHECKPOINT

INPUT is an image, a folder or a zip archive. It writes boxes.json, with boxes
in pixels, and overview.png of the first sixteen images. The config
configs/benchmarks/discovery-voc07.py measures the accuracy of such boxes.
"""
import argparse
import json
from pathlib import Path

from mmdino.engine.arguments import add_picture_arguments
from mmdino.engine.testing import given_network
from mmdino.models import ObjectFinder
from mmdino.pictures.dense import draw_box, draw_pairs
from mmdino.pictures.files import find_images, read_images
from mmdino.pictures.inputs import as_colour, network_input
from mmdino.utils.device import pick_device
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights.io import replaced

SHOWN = 16  # images in the overview


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'input', type=Path, help='image, folder of images or zip archive')
    add_picture_arguments(parser, 'discover')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    paths = find_images(args.input)
    finder = ObjectFinder(
        checkpoint=args.checkpoint,
        **given_network(args.config)).to(pick_device(args.device))
    size = finder.preprocessing['size'] if args.size is None else args.size
    boxes, shown = [], []
    for place, image in read_images(paths, color_type=finder.color_type):
        inputs = network_input(finder, image, size)
        box = finder.find(inputs[0]).tolist()
        image = as_colour(image)[..., ::-1]
        height, width = image.shape[:2]
        sides = zip(('top', 'left', 'bottom', 'right'), box,
                    (height, width) * 2)
        boxes.append(
            dict(image=paths[place], **{
                k: round(f * n)
                for k, f, n in sides
            }))
        if len(shown) < SHOWN:
            shown.append((image, draw_box(image, box)))
    args.out.mkdir(parents=True, exist_ok=True)
    with replaced(str(args.out / 'boxes.json')) as part:
        Path(part).write_text(json.dumps(boxes, indent=1))
    draw_pairs(*zip(*shown), out=args.out / 'overview.png')
    print(f'In {args.out}: overview.png and the boxes of {len(boxes)} images')


if __name__ == '__main__':
    run_tool(main)
