"""The options of command lines, apart from what takes seconds to import.

A script that reads them first shows its help, or a wrong option, at once.
"""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

CHECKPOINT = ('a file of any known format, a folder of transformers, an '
              'address, the name of a published model, timm:NAME or '
              'hf:ORG/NAME')


class _AllowDownloads(argparse.Action):
    """Set what :mod:`mmdino.weights.sources` asks, here and in children."""

    def __call__(self, *_) -> None:
        os.environ['MMDINO_DOWNLOAD'] = '1'


def add_download(parser: argparse.ArgumentParser) -> None:
    """Add ``--download``; without it nothing is downloaded unasked."""
    parser.add_argument(
        '--download',
        nargs=0,
        action=_AllowDownloads,
        help='download a checkpoint that is named by its source and is not '
        'yet in the cache')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument(
        'config', help='config file, or name of a packaged config')
    add_run_arguments(parser)
    add_download(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of what runs on one process or several."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that override the config, as key=value')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher')
    # torchrun sets LOCAL_RANK; torch.distributed.launch passes an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names a trained network, for :func:`parse_network`."""
    parser.add_argument(
        'network',
        nargs='*',
        metavar='CONFIG CHECKPOINT',
        help='as for tools/test.py, in the place of the two options')
    parser.add_argument(
        '--checkpoint', metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config',
        help='config file or name; by default the one in the checkpoint')


def parse_network(parser: argparse.ArgumentParser,
                  needed: bool = True) -> argparse.Namespace:
    """Parse; ``config`` (or None) and ``checkpoint`` name the network.

    Exits with a message if they do not.
    """
    args = parser.parse_args()
    if args.network:
        if len(args.network) != 2 or args.checkpoint or args.config:
            parser.error('give CONFIG CHECKPOINT, or --checkpoint FILE_OR_NAME'
                         f' [--config CONFIG], not {args.network}')
        args.config, args.checkpoint = args.network
    if needed and not args.checkpoint:
        parser.error('give --checkpoint FILE_OR_NAME')
    return args


def add_picture_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """Add what draws pictures of one's own with a trained network.

    Args:
        out: Name of the folder below work_dirs, unless another is given.
    """
    parser.add_argument('--checkpoint', required=True, help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help='file or name, if the checkpoint holds none')
    parser.add_argument('--out', type=Path, default=Path('work_dirs', out))
    parser.add_argument(
        '--size', type=int, help='pixels of the short side the network sees')
