"""Convert a checkpoint between the formats of libraries.

  python tools/convert_checkpoint.py dino_deitsmall16_pretrain.pth \\
      dino_vit-s16.pth --from official --to mmdino --check

The endings .pth and .safetensors choose the container. All sizes are read
off the tensors; every tensor must have its place in the target, or nothing
is written.
"""
import argparse
import sys

from mmdino.apis.compare import differences
from mmdino.weights import (FORMATS, CheckpointError, convert_file,
                            load_checkpoint)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='checkpoint to read')
    parser.add_argument('target', help='checkpoint to write')
    parser.add_argument(
        '--from', dest='source_format', required=True, choices=FORMATS)
    parser.add_argument(
        '--to', dest='target_format', required=True, choices=FORMATS)
    parser.add_argument(
        '--which',
        choices=['teacher', 'student'],
        help="convert this network's backbone alone; by default all that the "
        "target has a place for, of one network the teacher's")
    parser.add_argument(
        '--drop',
        nargs='+',
        default=[],
        metavar='PREFIX',
        help='leave out tensors that start so, such as fc.')
    parser.add_argument(
        '--heads',
        type=int,
        help='attention heads of a ViT, for --check and config.json; by '
        'default its width / 64')
    parser.add_argument(
        '--backbone',
        help='checkpoint of mmdino to join linear weights with, so that '
        'tools/test.py can score them')
    parser.add_argument(
        '--check',
        action='store_true',
        help='build both models and compare their features')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        convert_file(args.source, args.target, args.source_format,
                     args.target_format, args.which, args.drop, args.heads,
                     args.backbone)
        print(f'Wrote {args.target} ({args.target_format}).')
        if args.check:
            check(args)
    except (CheckpointError, FileNotFoundError, ImportError) as error:
        sys.exit(f'Error: {error}')


def check(args: argparse.Namespace) -> None:
    """Print how far each format's own model is from ours, by image size."""
    written = load_checkpoint(args.target)
    state = FORMATS[args.target_format].from_(written)
    largest = 0.
    for name in dict.fromkeys((args.source_format, args.target_format)):
        if name == 'mmdino':
            continue
        for size, difference in differences(state, name, args.heads):
            print(f'{name:12}{size[0]:4} x {size[1]:<4} px  '
                  f'{difference:.1e}')
            largest = max(largest, difference)
    print(f'largest difference of features: {largest:.1e}')


if __name__ == '__main__':
    main()
