"""Write the images of a folder, a zip archive or a list file into shards.

    python tools/make_shards.py data/imagenet data/imagenet-shards \\
        --subset train

writes tar files of about 1 GB in WebDataset's layout and their index. If the
images have labels (by a list file or by class folders), the labels are written
as well, and class names to classes.txt. After an interruption, the same
command continues. Train from the shards with

    train_dataloader = dict(
        sampler=dict(type='ShardSampler'),
        dataset=dict(type='Shards', data_root='data/imagenet-shards'))
"""
import argparse
import os.path as osp

from mmdino.datasets import Images
from mmdino.datasets.shard_writer import write_shards
from mmdino.datasets.tar_shards import TarShards
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('source', help='folder, zip archive or list file')
    parser.add_argument(
        'folder',
        help='folder to write to; with --subset, a folder of this name in it')
    parser.add_argument(
        '--subset',
        default='',
        help='use only this folder in SOURCE, such as train')
    parser.add_argument(
        '--shard-mb',
        type=float,
        default=1000.,
        help='size of a shard in MB (default: 1000)')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of the order in which images are written (default: 0)')
    parser.add_argument(
        '--keep-order',
        action='store_true',
        help='write images sorted by name, not shuffled; a training mixes '
        'only a few shards at a time, which then have few classes')
    parser.add_argument(
        '--no-labels',
        action='store_true',
        help='write images without labels, even if they are in class folders')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    images = Images(
        args.source,
        subset=args.subset,
        with_label=False if args.no_labels else None)
    shards = write_shards(
        images,
        osp.join(args.folder, args.subset) if args.subset else args.folder,
        int(args.shard_mb * 1e6),
        seed=None if args.keep_order else args.seed)
    source = TarShards(shards)
    size = sum(osp.getsize(shard) for shard in shards)
    print(f'{osp.dirname(shards[0])}: {len(source)} images in '
          f'{len(shards)} shards, {size / 1e9:.3f} GB, '
          f'{len(source) - source.without_label} with a label')


if __name__ == '__main__':
    run_tool(main)
