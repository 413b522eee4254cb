"""Evaluate a checkpoint: python -m mmdino.test CONFIG CHECKPOINT

The config is a file, or the name of one that is packaged with mmdino.
"""
import argparse
import os.path as osp
from typing import Optional

from mmdino.engine.arguments import add_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file; only a model without weights needs none')
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision, on GPUs')
    parser.add_argument('--out', help='JSON file for the metrics')
    return parser.parse_args()


def check(checkpoint: Optional[str]) -> None:
    if checkpoint and '://' not in checkpoint and not osp.isfile(checkpoint):
        raise FileNotFoundError(
            f'There is no checkpoint {checkpoint!r}. Training writes '
            'epoch_N.pth to its work dir.')


def main() -> None:
    args = parse_args()
    # After the options: torch and the toolboxes take seconds to import.
    from torch.distributed.elastic.multiprocessing.errors import record

    # With it torchrun shows the error of the process that failed first.
    record(test)(args)


def test(args: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process
    from mmengine.fileio import dump

    from mmdino.engine.launch import (build_runner, leave_process_group,
                                      load_config)
    from mmdino.engine.testing import use_checkpoint
    check(args.checkpoint)
    cfg = load_config(args)
    use_checkpoint(cfg, args.checkpoint)
    if args.amp:
        cfg.test_cfg.fp16 = True
    runner = build_runner(cfg, testing=True)
    if not args.checkpoint and any(True for _ in runner.model.parameters()):
        raise ValueError(f'{args.config} has weights to load: give the '
                         'checkpoint after the config.')
    metrics = runner.test()
    if args.out and is_main_process():
        dump(metrics, args.out)
    leave_process_group()


if __name__ == '__main__':
    main()
