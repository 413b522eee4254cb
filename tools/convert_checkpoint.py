"""Convert a checkpoint between the formats of libraries.

  python tools/convert_checkpoint.py dino_deitsmall16_pretrain.pth \\
      dino_vit-s16.pth --to mmdino --check

The source's format is recognised by its names. The endings .pth and
.safetensors choose the container. Every tensor must have its place in the
target, or nothing is written.
"""
import argparse
import sys

from mmdino.apis import compare
from mmdino.engine.arguments import CHECKPOINT, CONFIG, add_download
from mmdino.engine.testing import given_network
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights import FORMATS, convert_file


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('source', help=f'checkpoint to read: {CHECKPOINT}')
    add_download(parser)
    parser.add_argument('target', help='checkpoint to write')
    parser.add_argument(
        '--from',
        dest='source_format',
        choices=FORMATS,
        help='by default recognised by the names of the tensors')
    parser.add_argument(
        '--to',
        dest='target_format',
        required=True,
        choices=FORMATS,
        help='whose names the target is to have')
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
        help="attention heads of another library's ViT, where width and depth "
        'are not those of a published one')
    parser.add_argument(
        '--config',
        help=f"{CONFIG}; for another library's file of a network that no "
        'tensor tells')
    parser.add_argument(
        '--backbone',
        help='checkpoint of mmdino to join linear weights with, so that '
        'tools/test.py can score them')
    parser.add_argument(
        '--check',
        action='store_true',
        help='build both models and compare their features of random images, '
        f'float32: at most {compare.BOUND} of the largest may they differ')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    done = convert_file(args.source, args.target, args.source_format,
                        args.target_format, args.which, args.drop, args.heads,
                        args.backbone, given_network(args.config))
    print(f'Wrote {args.target} ({done.source.format} to {done.target}).')
    if args.check:
        check(done)


def check(done) -> None:
    """Print how far each format's own model is from ours, and a verdict."""
    largest = 0.
    for name, size, difference in compare.check_conversion(done):
        print(f'{name:12}{size[0]:4} x {size[1]:<4} px  {difference:.1e}')
        largest = max(largest, difference)
    verdict = (f'features differ by {largest:.1e} of the largest, '
               f'{compare.BOUND:.0e} is allowed')
    if not largest <= compare.BOUND:
        sys.exit(f'Check failed: {verdict}.')
    print(f'Check passed: {verdict}.')


if __name__ == '__main__':
    run_tool(main)
