"""Run the rows of a table of the paper's ablations and write the table:

    python tools/ablate.py guard --base shapescenes
    python tools/ablate.py teacher --base cifar10 --data DIR --seeds 0 1
    python tools/ablate.py loss --data data --processes 8    # ImageNet
    python tools/ablate.py guard --print-config none > none.py

Each row is trained and then evaluated by k-NN and a classifier: logistic
regression if the base's test has it, else linear classifiers. When the command
is given again, finished runs are not repeated (nor if another table has the
same run), and interrupted ones continue. The work dir gets table.md,
table.csv, table.json and table.png; collapse.png shows the entropy, the KL
divergence and the information of the targets in the training of the first
seed. The exit status is 1 if a row failed.
"""
import argparse
import datetime
import sys
import time
from pathlib import Path
from statistics import fmean

from mmengine.registry import init_default_scope

from mmdino.engine.arguments import add_settings
from mmdino.experiments.ablation_table import TableRow, write_table
from mmdino.experiments.ablations import (BASES, TABLES, Ablation, Figures,
                                          Row, find_rows)
from mmdino.experiments.jobs import attempt, table
from mmdino.experiments.settings import MissingData
from mmdino.utils.tool import Parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        'table', choices=TABLES, help='name of the table to run')
    parser.add_argument(
        '--rows', nargs='+', help='names of the rows to run; by default all')
    parser.add_argument(
        '--base',
        help='base config that the rows change: '
        f'{", ".join(BASES)}, or a config by its file or name; by default '
        "the paper's setting")
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data'),
        help='folder that holds the data sets')
    parser.add_argument(
        '--epochs',
        type=int,
        help='number of epochs instead of that of the base')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        help='seeds; each row is run with each of them (default: 0)')
    add_settings(
        parser,
        'settings that override those of the base or, with the name of a row '
        'first, of one row, such as '
        'momentum-0.99.train_cfg.max_epochs=20; linear.key=value overrides '
        'those of the linear classifiers, dense.key=value those of the '
        'benchmark of patches',
        metavar='[ROW.]KEY=VALUE')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='folder of the runs and the table (default: '
        'work_dirs/ablations/BASE)')
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help='number of GPUs, or of processes on CPUs (default: 1)')
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only print which runs are finished, to run, or without data')
    parser.add_argument(
        '--print-config',
        metavar='ROW',
        help='print the complete config of a row, for tools/train.py')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    rows = find_rows(args.table,
                     [args.print_config] if args.print_config else args.rows)
    base = Path(args.base).stem if args.base else 'paper'
    root = args.work_dir or Path('work_dirs/ablations') / base
    ablation = Ablation(args.base, root, args.data, args.epochs,
                        args.processes, args.cfg_options, rows)
    if args.print_config:
        print(ablation.config(rows[0], args.seeds[0]).pretty_text)
    elif args.dry_run:
        print(plan(ablation, rows, args.seeds))
    else:
        run_table(ablation, rows, args)


def plan(ablation: Ablation, rows: list[Row], seeds: list[int]) -> str:
    """Return a table of the runs and their states."""
    lines = [('row', 'seed', 'what it changes', 'state')]
    print(f'Base: {ablation.base.filename}')
    for row in rows:
        folder = ablation.root / row.table
        for seed in seeds:
            try:
                train, *tests = ablation.jobs(row, seed)
                state = train.state
                left = [job.state for job in tests if job.state != 'finished']
                if state == 'finished' and left:
                    state = f'trained, test {left[0]}'
                if train.folder != folder / row.name / f'seed_{seed}/train':
                    state += f' in {train.folder.parent}'
                if ablation.equals_base(row):
                    state += '; the base itself, one run for all tables'
            except (MissingData, ValueError) as error:
                state = f'cannot be run: {error}'
            lines.append((row.name, str(seed), row.title, state))
    return table(lines)


def run_table(ablation: Ablation, rows: list[Row],
              args: argparse.Namespace) -> None:
    """Run the unfinished rows; write the table after each run."""
    head = describe(args, ablation)
    folder = ablation.root / args.table
    found = [TableRow(row, {}) for row in rows]
    cases = [(place, seed) for seed in args.seeds
             for place in range(len(rows))]
    seconds: list[float] = []
    for number, (place, seed) in enumerate(cases):
        print(
            f'\n[{number + 1}/{len(cases)}] {args.table}/{rows[place].name}, '
            f'seed {seed}{time_left(seconds, len(cases) - number)}',
            flush=True)
        start, row, ran = time.monotonic(), found[place], []

        def run() -> dict:
            jobs = ablation.jobs(row.row, seed)
            ran.extend(job for job in jobs if job.result is None)
            return ablation.figures(row.row, seed)

        result, lacking, error = attempt(run)
        if result is None:
            found[place] = row._replace(error=lacking or error)
        else:
            figures = {**row.figures, seed: Figures(**result)}
            found[place] = row._replace(figures=figures)
        if ran:
            seconds.append(time.monotonic() - start)
        files = write_table(found, head, folder)
    print(f'\n{files[0].read_text()}\nIn {folder}: ' +
          ', '.join(file.name for file in files))
    failed = [row.row.name for row in found if row.error]
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}.')


def describe(args: argparse.Namespace, ablation: Ablation) -> dict[str, str]:
    """Return what all rows have in common, for the head of the table."""
    return dict(
        table=args.table,
        base=Path(ablation.base.filename).stem if args.base else "the paper's",
        data=str(args.data),
        epochs=str(ablation.base.train_cfg.max_epochs),
        seeds=' '.join(map(str, args.seeds)),
        processes=str(args.processes),
        classifier=ablation.classifier_title)


def time_left(seconds: list[float], cases: int) -> str:
    """Estimate the remaining time, by the mean of the runs so far.

    Args:
        seconds: Durations of the runs so far, without those that had been
            finished before.
        cases: Number of runs that are left.
    """
    if not seconds:
        return ''
    left = datetime.timedelta(seconds=round(fmean(seconds) * cases))
    return f', {left} left at most'


if __name__ == '__main__':
    run_tool(main)
