"""Export a trained network to run without mmdino.

  python tools/export.py --checkpoint epoch_100.pth --format onnx

The graph turns images (B, C, H, W), normalised as in the training, into
features (B, D); its metadata tells the network and the normalisation. --batch
and --size fix what is dynamic otherwise. --format safetensors writes the
weights alone, which all tools open, with --half in float16.
"""
import argparse

import torch

from mmdino.apis import get_model
from mmdino.apis.export import FORMATS, LIMIT, default_out, export
from mmdino.engine.arguments import CHECKPOINT, CONFIG, add_download
from mmdino.utils.device import pick_device
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('file', nargs='?', help='the same as --checkpoint')
    parser.add_argument(
        '--checkpoint', metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help=f'{CONFIG}; by default the file tells')
    parser.add_argument(
        '--format',
        required=True,
        choices=FORMATS,
        help='of the graph, or safetensors for the weights alone')
    parser.add_argument(
        '--out', help='by default the checkpoint with another ending')
    parser.add_argument(
        '--half', action='store_true', help='safetensors in float16')
    parser.add_argument('--batch', type=int, help='images at once')
    parser.add_argument(
        '--size',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help='height and width of the images, one number if they are equal')
    parser.add_argument(
        '--heads',
        type=int,
        help="attention heads of another library's ViT, where width and depth "
        'are not those of a published one')
    parser.add_argument(
        '--device',
        default='cpu',
        help='where the network runs that the file is compared with: cpu, '
        'cuda, cuda:1, ...; the file is written on the CPU (default: cpu)')
    args = parser.parse_args()
    if args.size and len(args.size) > 2:
        parser.error('--size takes one or two numbers')
    if bool(args.file) == bool(args.checkpoint):
        parser.error('give one checkpoint: --checkpoint FILE')
    args.checkpoint = args.checkpoint or args.file
    return args


def main() -> None:
    args = parse_args()
    out = args.out or default_out(args.checkpoint, args.format)
    size = (args.size[0], args.size[-1]) if args.size else None
    device = pick_device(args.device)
    # TF32, which torch allows in convolutions, would differ by its rounding.
    torch.backends.cudnn.allow_tf32 = False
    teacher = get_model(args.config, args.checkpoint, 'cpu', args.heads)
    checked = []
    for shape, largest in export(teacher, out, args.format, args.batch, size,
                                 args.half, device):
        print(f'images {shape}: features at most {largest:.1e} off')
        checked.append(largest)
    print(f'Wrote {out}. Check passed: read again, features differ by '
          f'{max(checked):.1e} of the largest, {LIMIT:.0e} is allowed.')


if __name__ == '__main__':
    run_tool(main)
