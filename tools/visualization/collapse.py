"""Draw the entropy, divergence and information of runs side by side:

    python tools/visualization/collapse.py WORK_DIR [WORK_DIR ...] --out FILE
"""
from pathlib import Path

from mmdino.engine.arguments import add_out
from mmdino.pictures.ablations import draw_collapse, name_runs
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        'runs', nargs='+', type=Path, help='work dirs, or scalars.json files')
    parser.add_argument(
        '--names', nargs='+', help='names of the runs, one for each')
    add_out(parser, 'collapse.png')
    args = parser.parse_args()
    if args.names and len(args.names) != len(args.runs):
        parser.error(f'--names gives {len(args.names)} names for '
                     f'{len(args.runs)} runs: give one for each run')
    if args.names and len({*args.names}) < len(args.names):
        parser.error(f'--names must differ, got {args.names}')
    runs = dict(
        zip(args.names, args.runs) if args.names else name_runs(args.runs))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_collapse(runs, args.out)
    print(args.out)


if __name__ == '__main__':
    run_tool(main)
