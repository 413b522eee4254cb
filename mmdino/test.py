"""Evaluate a checkpoint: python -m mmdino.test CONFIG CHECKPOINT

The config is a file, or the name of one that is packaged with mmdino.
"""
import argparse
import os.path as osp

from mmengine.dist import is_main_process
from mmengine.fileio import dump

from mmdino.engine.launch import (add_arguments, build_runner,
                                  leave_process_group, load_config)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision, on GPUs')
    parser.add_argument('--out', help='JSON file for the metrics')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if '://' not in args.checkpoint and not osp.isfile(args.checkpoint):
        raise FileNotFoundError(
            f'There is no checkpoint {args.checkpoint!r}. Training writes '
            'epoch_N.pth to its work dir.')
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    metrics = build_runner(cfg).test()
    if args.out and is_main_process():
        dump(metrics, args.out)
    leave_process_group()


if __name__ == '__main__':
    main()
