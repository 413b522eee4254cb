"""The options of a command line, apart from what takes seconds to import.

A script that reads them first shows its help, or a wrong option, at once.
"""
import argparse

from mmengine.config import DictAction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument(
        'config', help='config file, or name of a packaged config')
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
