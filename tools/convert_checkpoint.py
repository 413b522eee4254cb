"""Convert a checkpoint between the formats of libraries.

  python tools/convert_checkpoint.py dino_deitsmall16_pretrain.pth \\
      dino_vit-s16.pth --to mmdino --check

The format of the source is recognised by the names of its tensors. The
extension of the target, .pth or .safetensors, chooses the kind of file. If a
tensor has no place in the target format, nothing is written.
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
        help='format of the source; by default it is recognised by the names '
        'of the tensors')
    parser.add_argument(
        '--to',
        dest='target_format',
        required=True,
        choices=FORMATS,
        help='format of the target')
    parser.add_argument(
        '--which',
        choices=['teacher', 'student'],
        help='convert only the backbone of this network; by default all that '
        'the target format can hold, and if it holds one network, the teacher')
    parser.add_argument(
        '--drop',
        nargs='+',
        default=[],
        metavar='PREFIX',
        help='leave out tensors whose names start with these, such as fc.')
    parser.add_argument(
        '--heads',
        type=int,
        help="number of attention heads of another library's ViT, if its "
        'width and depth are not those of a published one')
    parser.add_argument(
        '--config',
        help=f"{CONFIG}; for another library's file whose tensors do not "
        'determine the network')
    parser.add_argument(
        '--backbone',
        help='checkpoint of mmdino whose backbone is added to the weights of '
        'a linear classifier, so that tools/test.py can evaluate them')
    parser.add_argument(
        '--check',
        action='store_true',
        help='build the networks of both formats and compare their features '
        'of random images in float32: they may differ by at most '
        f'{compare.BOUND} of the largest feature')
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
    """Print how far the features of each format's network are from ours.

    Exits with status 1 if they differ too much.
    """
    largest = 0.
    for name, size, difference in compare.check_conversion(done):
        print(f'{name:12}{size[0]:4} x {size[1]:<4} px  {difference:.1e}')
        largest = max(largest, difference)
    verdict = (f'features differ by {largest:.1e} of the largest one, and '
               f'{compare.BOUND:.0e} is allowed')
    if not largest <= compare.BOUND:
        sys.exit(f'Check failed: {verdict}.')
    print(f'Check passed: {verdict}.')


if __name__ == '__main__':
    run_tool(main)
