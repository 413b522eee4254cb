"""Repeat a step whose loss or gradient was not finite:

    python tools/replay_dump.py work_dirs/NAME/nonfinite_iter3_rank0.pth
"""
import argparse

from mmdino.engine.configs import read_config
from mmdino.engine.longrun.replay import replay
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('dump', help='file that NonFiniteHook wrote')
    parser.add_argument(
        '--device', default='cpu', help='cpu (default), cuda, cuda:1, ...')
    parser.add_argument(
        '--config',
        help='config of the run, a file or a name; needed if it imports '
        'components of your own')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.config:
        read_config(args.config)
    step = replay(args.dump, args.device)
    print(f'Iteration {step.iteration}: loss {step.loss:g}, was '
          f'{step.recorded_loss:g}.')
    print(f'Views that are not finite: {step.bad_inputs or "none"}')
    for what, names in (('Weights', step.bad_parameters),
                        ('Gradients', step.bad_gradients)):
        print(f'{what} that are not finite: {len(names)}')
        for name in names[:10]:
            print(f'  {name}')
    print('First module whose output is not finite: '
          f'{step.first_bad_module or "none"}')


if __name__ == '__main__':
    run_tool(main)
