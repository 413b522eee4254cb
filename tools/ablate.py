"""Run the rows of a table of the paper's ablations and write the table:

    python tools/ablate.py guard --base shapescenes
    python tools/ablate.py teacher --base cifar10 --data DIR --seeds 0 1
    python tools/ablate.py loss --data data --processes 8    # ImageNet

Each row is trained and then evaluated by k-NN and a linear classifier. Runs
that were finished are kept when the command is given again, in other tables
too, and those that were stopped go on. The work dir gets table.md, table.csv,
table.json, table.png and collapse.png, the targets' entropy, divergence and
information in the first seed's training. The exit status is 1 if a row failed.
"""
import argparse
import datetime
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Callable, Dict, List, Optional, Tuple

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.experiments.ablation_report import TableRow, write_table
from mmdino.experiments.ablations import (BASES, PAPER, AblationRun,
                                          find_variants, list_tables)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', choices=list_tables())
    parser.add_argument('--rows', nargs='+', help='some of them, by name')
    parser.add_argument(
        '--base',
        help=f'what the rows are put upon: {", ".join(BASES)} or a config '
        'file; by default the paper\'s setting')
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data'),
        help='folder that holds the data sets')
    parser.add_argument('--epochs', type=int, help="instead of the base's")
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--work-dir', type=Path)
    parser.add_argument(
        '--processes', type=int, default=1, help='GPUs, or CPU processes')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    variants = find_variants(args.table, args.rows)
    base = BASES.get(args.base, args.base and Path(args.base))
    root = args.work_dir or Path('work_dirs/ablations') / (
        base.stem if base else 'paper')
    rows = [TableRow(v.name, v.title, {}) for v in variants]
    head = describe(args, base)
    cases = [(place, seed) for seed in args.seeds
             for place in range(len(variants))]
    seconds = []
    for number, (place, seed) in enumerate(cases):
        variant = variants[place]
        print(
            f'\n[{number + 1}/{len(cases)}] {args.table}/{variant.name}, seed '
            f'{seed}{time_left(seconds, len(cases) - number)}',
            flush=True)
        folder = root / args.table / variant.name / f'seed_{seed}'
        start = time.monotonic()
        rows[place], ran = carry_out(
            lambda: AblationRun(variant.path, folder, base, args.data, args.
                                epochs, seed, args.processes), rows[place],
            seed)
        if ran:
            seconds.append(time.monotonic() - start)
        files = write_table(rows, head, root / args.table)
    print(f'\n{files[0].read_text()}\nIn {root / args.table}: ' +
          ', '.join(file.name for file in files))
    failed = [row.name for row in rows if row.error]
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}.')


def describe(args: argparse.Namespace, base: Optional[Path]) -> Dict[str, str]:
    """What all rows have in common, for the head of the table."""
    epochs = args.epochs or Config.fromfile(base or PAPER).train_cfg.max_epochs
    return dict(
        table=args.table,
        base=base.stem if base else "the paper's",
        data=str(args.data),
        epochs=str(epochs),
        seeds=' '.join(map(str, args.seeds)),
        processes=str(args.processes))


def time_left(seconds: List[float], cases: int) -> str:
    """At the mean of the runs so far; those found finished do not count."""
    if not seconds:
        return ''
    left = datetime.timedelta(seconds=round(fmean(seconds) * cases))
    return f', {left} left at most'


def carry_out(build: Callable[[], AblationRun], row: TableRow,
              seed: int) -> Tuple[TableRow, bool]:
    """Run it unless it was finished; a failure does not stop the others.

    Returns:
        The row with its figures or error, and whether anything was run.
    """
    ran = False
    try:
        run = build()
        figures = run.finished()
        if figures is None:
            ran = True
            figures = run.run()
    except (subprocess.CalledProcessError, OSError, RuntimeError,
            ValueError) as error:
        message = getattr(error, 'output', None) or str(error)
        print(f'failed: {message}', flush=True)
        return row._replace(error=message), ran
    return row._replace(figures={**row.figures, seed: figures}), ran


if __name__ == '__main__':
    main()
