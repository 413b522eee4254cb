"""Pretrain with a config: python -m mmdino.train dino_vit-s16

The config is a file, or the name of one that is packaged with mmdino.
"""
import argparse
import sys

from mmdino.engine.arguments import CHECKPOINT, add_arguments
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add_arguments(parser)
    parser.add_argument(
        '--checkpoint',
        metavar='FILE_OR_NAME',
        help='weights to start training from; for a classifier, a segmentor '
        f'or a detector the weights of its backbone: {CHECKPOINT}')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue the training of this checkpoint or, without a value, '
        'of the last intact one in the work dir')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=['fp16', 'bf16'],
        help='train in mixed precision: fp16 (the default, needs a GPU) or '
        'bf16, written --amp=bf16')
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='train without the validation (k-NN) between epochs')
    return parser.parse_args()


def main() -> None:
    """Run the tool with the command line's options."""
    args = parse_args()
    # Torch and the toolboxes take seconds to import: parse options first.
    from mmdino.engine.launch import report_errors
    report_errors(train)(args)


def train(args: argparse.Namespace) -> None:
    """Train with a config."""
    from mmdino.engine.configs import load_config
    from mmdino.engine.launch import build_runner, leave_process_group, use_amp
    from mmdino.engine.longrun.signals import ignore_signals
    from mmdino.engine.longrun.workers import close_workers
    from mmdino.engine.testing import start_from
    cfg = load_config(args, args.amp and (lambda cfg: use_amp(cfg, args.amp)))
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.checkpoint:
        start_from(cfg, args.checkpoint)
    if args.resume == 'auto':
        cfg.resume = 'auto'
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    status = 0
    try:
        build_runner(cfg).train()
    except SystemExit as error:  # after a signal; all processes have saved
        ignore_signals()
        status = error.code
    finally:
        close_workers()
    leave_process_group()
    if status:
        sys.exit(status)


if __name__ == '__main__':
    run_tool(main)
