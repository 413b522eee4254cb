"""Command-line options, defined without imports that take seconds.

A script that parses them before its own imports shows its help, or an error
about an option, at once.
"""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

CONFIG = 'config: a file, or the name of one that comes with mmdino'
CHECKPOINT = ('a file of any known format, a model folder of transformers, a '
              'URL, the name of a published model, timm:NAME or hf:ORG/NAME')


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
        help='download a checkpoint that is given by name or URL and is not '
        'yet in the cache')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, which chooses where the network runs."""
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
    """Add ``--cfg-options``, which overrides settings of the config.

    Args:
        parser: The parser.
        what: Help text of the option.
        metavar: Name of a value in the help.
    """
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
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    add_run_arguments(parser)
    add_download(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of tools that run on one process or several."""
    add_settings(parser)
    add_device(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes, if there are several; '
        'tools/dist_train.sh and tools/slurm_train.sh set it')
    # torchrun sets LOCAL_RANK; torch.distributed.launch passes an argument.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='number of the process on its machine; launchers set it')


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a trained network, for :func:`parse_network`.
    """
    parser.add_argument(
        'network',
        nargs='*',
        metavar='CONFIG CHECKPOINT',
        help='config and checkpoint as in tools/test.py, instead of the '
        'options --config and --checkpoint')
    parser.add_argument(
        '--checkpoint', metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config', help=f'{CONFIG}; by default that in the checkpoint')


def parse_network(parser: argparse.ArgumentParser,
                  needed: bool = True) -> argparse.Namespace:
    """Parse options; ``config`` (or None) and ``checkpoint`` name the network.

    Exits with a message if the options do not name a network.

    Args:
        parser: Parser with the options of :func:`add_network_arguments`.
        needed: Whether a checkpoint must be given.
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
        parser: The parser.
        out: Name of the default output folder in work_dirs.
    """
    parser.add_argument(
        '--checkpoint', required=True, metavar='FILE_OR_NAME', help=CHECKPOINT)
    add_download(parser)
    parser.add_argument(
        '--config',
        help=f'{CONFIG}; needed if the checkpoint stores none of its network')
    add_device(parser)
    add_out(parser, out)
    parser.add_argument(
        '--size',
        type=int,
        help='short side in pixels to which images are resized; by default '
        'the size of the training')


def add_out(parser: argparse.ArgumentParser, out: str) -> None:
    """Add ``--out``, by default ``work_dirs/{out}``."""
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs', out),
        help=f'where to write (default: work_dirs/{out})')
