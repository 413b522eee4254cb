"""Run the rows of a table of the paper's ablations and write the table:

    python tools/ablate.py guard --base shapescenes --epochs 12
    python tools/ablate.py teacher --base cifar10 --data DIR --seeds 0 1
    python tools/ablate.py loss --data data --processes 8    # ImageNet

Each row is trained and then evaluated by k-NN and a linear classifier. Runs
that were finished are kept when the command is given again, in other tables
too, and those that were stopped go on. The work dir gets table.md, table.csv,
table.json, table.png and collapse.png, the targets' entropy and divergence.
"""
import argparse
import datetime
import subprocess
import time
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdino.ablation import (BASES, AblationRun, TableRow, find_variants,
                             list_tables, write_table)


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
    runs = {
        (variant, seed):
        AblationRun(variant.path,
                    root / args.table / variant.name / f'seed_{seed}', base,
                    args.data, args.epochs, seed, args.processes)
        for seed in args.seeds
        for variant in variants
    }
    rows = [TableRow(v.name, v.title, {}) for v in variants]
    first = next(iter(runs.values())).config
    head = dict(
        table=args.table,
        base=base.stem if base else 'the paper\'s',
        epochs=str(first.train_cfg.max_epochs),
        seeds=' '.join(map(str, args.seeds)))
    start = time.monotonic()
    for number, ((variant, seed), run) in enumerate(runs.items()):
        eta = (time.monotonic() - start) / max(number, 1) * (
            len(runs) - number)
        left = f', {datetime.timedelta(seconds=round(eta))} left' * (
            number > 0)
        print(
            f'\n[{number + 1}/{len(runs)}] {args.table}/{variant.name}, seed '
            f'{seed}{left}',
            flush=True)
        place = variants.index(variant)
        rows[place] = carry_out(run, rows[place], seed)
        files = write_table(rows, head, root / args.table)
    print(f'\n{files[0].read_text()}\nIn {root / args.table}: ' +
          ', '.join(file.name for file in files))


def carry_out(run: AblationRun, row: TableRow, seed: int) -> TableRow:
    """Run it unless it was finished; a failure does not stop the others."""
    try:
        figures = run.finished() or run.run()
    except (subprocess.CalledProcessError, RuntimeError) as error:
        message = getattr(error, 'output', None) or str(error)
        print(f'failed: {message}', flush=True)
        return row._replace(error=message)
    return row._replace(figures={**row.figures, seed: figures})


if __name__ == '__main__':
    main()
