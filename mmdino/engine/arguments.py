"""Command-line options, defined without imports that take seconds.

A script that reads them first shows its help, or a wrong option, at once.
"""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

CONFIG = 'config: a file, or the name of one that comes with mmdino'
CHECKPOINT = ('a file of any known format, a folder of transformers, an '
              'address, the name of a published model, timm:NAME or '
              'hf:ORG/NAME')


class _AllowDownloads(argparse.Action):
    """Allow downloads in this process and its children."""

    def __call__(self, *_) -> None:
        os.environ['MMDINO_DOWNLOAD'] = '1'


def add_download(parser: argparse.ArgumentParser) -> None:
    """Add ``--download``, which allows missing weights to be downloaded."""
    parser.add_argument(
        '--download',
        nargs=0,
        action=_AllowDownloads,
        help='download a checkpoint that is named by its source and is not '
        'yet in the cache')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, where the network runs."""
    parser.add_argument(
        '--device',
        help='cpu, cuda, cuda:1, ...; by default the GPU if there is one')


class _Settings(DictAction):
    """Collect KEY=VALUE pairs; an argument without ``=`` is an error."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string} takes KEY=VALUE, such as '
                             f'train_cfg.max_epochs=10, not {value!r}')
        super().__call__(parser, namespace, values, option_string)


def add_settings(parser: argparse.ArgumentParser,
                 what: str = 'settings that override the config, such as '
                 'train_cfg.max_epochs=10',
                 metavar: str = 'KEY=VALUE') -> None:
    """Add ``--cfg-options``, which overrides settings of the config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Settings,
        default={},
        metavar=metavar,
        help=what)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument('config', help=CONFIG)
    add_run_arguments(parser)
    add_download(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of tools that run on one process or several."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    add_settings(parser)
    add_device(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what has started several processes; tools/dist_train.sh and '
        'tools/slurm_train.sh give it')
    # torchrun sets LOCAL_RANK; torch.distributed.launch passes an argument.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='number of the process on its node, which launchers give')


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a trained network.

    For :func:`parse_network`.
    """
    parser.add_argument(
        'network',
        nargs='*',
        metavar='CONFIG CHECKPOINT',
        help='as for tools/test.py, in the place of the two options')
    parser.add_argument(
        '--checkpoint', metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help=f'{CONFIG}; by default the one in the checkpoint')


def parse_network(parser: argparse.ArgumentParser,
                  needed: bool = True) -> argparse.Namespace:
    """Parse options; ``config`` (or None) and ``checkpoint`` name the network.

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
    """Add the options of tools that draw images with a trained network.

    Args:
        out: Name of the folder below work_dirs, unless another is given.
    """
    parser.add_argument(
        '--checkpoint', required=True, metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help=f'{CONFIG}; where the checkpoint does not tell')
    add_device(parser)
    add_out(parser, out)
    parser.add_argument(
        '--size',
        type=int,
        help='pixels of the short side that the network sees; by default '
        'those of its training')


def add_out(parser: argparse.ArgumentParser, out: str) -> None:
    """Add ``--out``, by default a name in work_dirs."""
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs', out),
        help=f'where to write (default: work_dirs/{out})')
