"""Export a trained network to run without mmdino.

  python tools/export.py --checkpoint epoch_100.pth --format onnx

The formats onnx and torch-export are graphs from images (B, C, H, W), which
must be normalised as in the training, to features (B, D). Their metadata hold
the config of the network and the normalisation. By default a graph takes any
number and size of images; --batch and --size fix them. The format safetensors
holds only the weights, which all tools can read, with --half in float16.
"""
import argparse

import torch

from mmdino.apis import get_model
from mmdino.apis.export import (FORMATS, LIMIT, default_out, export,
                                refuse_input)
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
        '--config', help=f'{CONFIG}; by default that in the checkpoint')
    parser.add_argument(
        '--format',
        required=True,
        choices=FORMATS,
        help='format of the graph, or safetensors for the weights alone')
    parser.add_argument(
        '--out',
        help='file to write; by default the path of the checkpoint with the '
        'extension of the format, and _half or _export before it if that is '
        'the checkpoint itself')
    parser.add_argument(
        '--half',
        action='store_true',
        help='write float16 (with --format safetensors only)')
    parser.add_argument(
        '--batch',
        type=int,
        help='fixed number of images; by default a graph takes any')
    parser.add_argument(
        '--size',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help='fixed height and width of the images, or one number if they '
        'are equal; by default a graph takes any')
    parser.add_argument(
        '--heads',
        type=int,
        help="number of attention heads of another library's ViT, if its "
        'width and depth are not those of a published one')
    parser.add_argument(
        '--device',
        default='cpu',
        help='cpu, cuda, cuda:1, ...: where the network runs with which the '
        'file is compared; the file is written on the CPU (default: cpu)')
    args = parser.parse_args()
    if args.size and len(args.size) > 2:
        parser.error(f'--size takes one or two numbers, got {args.size}')
    if bool(args.file) == bool(args.checkpoint):
        parser.error('give one checkpoint: --checkpoint FILE_OR_NAME')
    args.checkpoint = args.checkpoint or args.file
    return args


def main() -> None:
    args = parse_args()
    out = args.out or default_out(args.checkpoint, args.format, args.half)
    refuse_input(args.checkpoint, out)
    size = (args.size[0], args.size[-1]) if args.size else None
    device = pick_device(args.device)
    # torch allows TF32 in convolutions, whose rounding would fail the check.
    torch.backends.cudnn.allow_tf32 = False
    teacher = get_model(args.config, args.checkpoint, 'cpu', args.heads)
    checked = []
    for shape, largest in export(teacher, out, args.format, args.batch, size,
                                 args.half, device):
        print(f'images {shape}: features differ by at most {largest:.1e}')
        checked.append(largest)
    print(f'Wrote {out}. Check passed: the features of the file differ from '
          f'those of the network by {max(checked):.1e} of the largest one, '
          f'and {LIMIT:.0e} is allowed.')


if __name__ == '__main__':
    run_tool(main)
