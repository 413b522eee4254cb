"""Export a checkpoint's teacher backbone to run without mmdino.

  python tools/export.py epoch_100.pth --format onnx

The graph turns images (B, 3, H, W) in RGB, normalised by the mean and std of
the training, into features (B, D). --batch and --size fix what is dynamic
otherwise. --format safetensors writes the backbone's weights alone.
"""
import argparse
import os.path as osp
import sys

import torch

from mmdino.apis import export
from mmdino.weights import (FORMATS, CheckpointError, load_checkpoint,
                            save_checkpoint)
from mmdino.weights.formats.ours import backbone_of
from mmdino.weights.infer import backbone_cfg
from mmdino.weights.io import replaced

GRAPHS = {
    'onnx': ('.onnx', export.save_onnx, export.load_onnx),
    'torch-export': ('.pt2', export.save_program, export.load_program)
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of mmdino')
    parser.add_argument(
        '--format', required=True, choices=[*GRAPHS, 'safetensors'])
    parser.add_argument(
        '--out', help='by default the checkpoint with another ending')
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
        help='attention heads of a ViT; by default its width / 64')
    args = parser.parse_args()
    if args.size and len(args.size) > 2:
        parser.error('--size takes one or two numbers')
    return args


def main() -> None:
    args = parse_args()
    try:
        state = FORMATS['mmdino'].from_(load_checkpoint(args.checkpoint))
        backbone = backbone_of(state)
        if args.format == 'safetensors':
            out = name(args, '.safetensors')
            save_checkpoint(backbone, out)
        else:
            out = export_graph(args, backbone)
    except (CheckpointError, FileNotFoundError, ImportError) as error:
        sys.exit(f'Error: {error}')
    print(f'Wrote {out}')


def name(args: argparse.Namespace, ending: str) -> str:
    return args.out or osp.splitext(args.checkpoint)[0] + ending


@torch.no_grad()
def export_graph(args: argparse.Namespace, backbone: dict) -> str:
    """Write the graph if it computes what the network does."""
    ending, save, load = GRAPHS[args.format]
    cfg = backbone_cfg(backbone, args.heads)
    step = export.image_step(cfg)
    stored = (cfg.get('img_size', 224), ) * 2
    size = (args.size[0], args.size[-1]) if args.size else None
    network = export.feature_network(backbone, args.heads)
    program = export.export_program(network, step, args.batch, size)
    out = name(args, ending)
    with replaced(out) as temporary:
        save(program, temporary)
        images = export.sample_images(step, stored, args.batch, size)
        for shape, difference in export.check(network, load(temporary),
                                              images):
            print(f'images {shape}: features at most {difference:.1e} off')
    return out


if __name__ == '__main__':
    main()
