"""Evaluate a checkpoint: python -m mmdino.test CONFIG CHECKPOINT

The config is a file, or the name of one that is packaged with mmdino.
"""
import argparse

from mmdino.engine.arguments import CHECKPOINT, add_arguments
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add_arguments(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help=f'{CHECKPOINT}; only a model without weights needs none')
    parser.add_argument(
        '--checkpoint',
        dest='named',
        metavar='CHECKPOINT',
        help='the same as an option, as in the other tools')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='test in mixed precision (fp16; needs a GPU)')
    parser.add_argument('--out', help='JSON file to write the metrics to')
    args = parser.parse_args()
    if args.named and args.checkpoint:
        parser.error('give one checkpoint, either after the config or by '
                     f'--checkpoint, not both {args.checkpoint} and '
                     f'{args.named}')
    args.checkpoint = args.checkpoint or args.named
    return args


def main() -> None:
    """Run the tool with the command line's options."""
    args = parse_args()
    # Torch and the toolboxes take seconds to import: parse options first.
    from mmdino.engine.launch import report_errors
    report_errors(test)(args)


def test(args: argparse.Namespace) -> None:
    """Test a checkpoint with a config."""
    from mmengine.dist import is_main_process
    from mmengine.fileio import dump

    from mmdino.engine.configs import load_config
    from mmdino.engine.launch import build_runner, leave_process_group
    from mmdino.engine.testing import use_checkpoint
    from mmdino.weights import find_checkpoint
    from mmdino.weights.io import replaced
    if args.checkpoint:
        args.checkpoint = find_checkpoint(args.checkpoint)
    cfg = load_config(args, use_half if args.amp else None)
    use_checkpoint(cfg, args.checkpoint)
    runner = build_runner(cfg, testing=True)
    if not args.checkpoint and any(True for _ in runner.model.parameters()):
        raise ValueError(f'The model of {args.config} has weights and no '
                         'checkpoint is given: name one after the config.')
    metrics = runner.test()
    if args.out and is_main_process():
        with replaced(args.out) as part:
            dump(metrics, part)
    leave_process_group()


def use_half(cfg) -> None:
    """Test in mixed precision."""
    if cfg.get('test_cfg'):
        cfg.test_cfg.fp16 = True


if __name__ == '__main__':
    run_tool(main)
