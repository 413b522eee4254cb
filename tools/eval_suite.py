"""Run every evaluation that the data at hand allows and write one table:

    python tools/eval_suite.py --checkpoint FILE_OR_NAME --data data
    python tools/eval_suite.py --checkpoint FILE_OR_NAME --dry-run
    python tools/eval_suite.py --checkpoint FILE_OR_NAME --cfg-options \\
        linear.train_cfg.max_epochs=20 run.test_dataloader.dataset.subset=test

Rows without a benchmark data set use the data of the pretraining run, whose
config is in the checkpoint; --config names another. The work dir gets
report.md, report.json, and a folder with the config, the log and the figures
of each row. When the command is given again, it runs the rows that are not
finished, and those whose settings, weights or data have changed. Rows whose
data are missing are skipped. The exit status is 1 if a row failed.
"""
import argparse
import os.path as osp
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdino.engine.arguments import (add_device, add_network_arguments,
                                     add_settings, parse_network)
from mmdino.experiments.jobs import table
from mmdino.experiments.report import Outcome, as_table, write_report
from mmdino.experiments.suite import ROWS, Suite
from mmdino.utils.device import use_device_in_children
from mmdino.utils.tool import Parser, run_tool

KEYS = [row.key for row in ROWS]
NOTHING = (
    '\nNothing is measured: {data} has none of the data sets, whose folders '
    'are described in configs/benchmarks/README.md. For images of your own, '
    'in one folder for each class: '
    'python tools/quickstart.py --data PHOTOS --weights {checkpoint}')


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    add_network_arguments(parser)
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data'),
        help='folder of the data sets, see configs/benchmarks/README.md')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='folder of the report and of each row (default: a folder in '
        'work_dirs/eval)')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=KEYS,
        metavar='ROW',
        help='rows to run, by default all but fine-tuning: '
        f'{" ".join(KEYS)}')
    add_settings(
        parser, "settings that override a row's config, such as "
        'linear.train_cfg.max_epochs=20, knn.test_evaluator.k=(5,20), '
        'low-shot-1.label_share=.05, tsne.seed=1, nearest.queries=4; '
        'run.key=value overrides settings of the pretraining run, such as '
        'its data',
        metavar='ROW.KEY=VALUE')
    add_device(parser)
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only print which rows are finished, to run, or without data')
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help='number of GPUs, or of processes on CPUs (default: 1)')
    return parse_network(parser)


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    use_device_in_children(args.device)
    names = [
        osp.splitext(osp.basename(path))[0]
        for path in (args.config, args.checkpoint) if path
    ]
    folder = args.work_dir or Path('work_dirs') / 'eval' / '_'.join(names)
    suite = Suite(args.config, args.checkpoint, args.data, folder,
                  args.processes, args.cfg_options, args.only)
    if args.dry_run:
        states = [suite.state(row) for row in suite.rows]
        print(plan(suite, states))
        if all(state.startswith('skipped') for _, state in states):
            print(NOTHING.format(**vars(args)))
        return
    head = dict(
        config=args.config or 'in the checkpoint',
        checkpoint=args.checkpoint,
        data=str(args.data))
    outcomes: list[Outcome] = []
    for number, row in enumerate(suite.rows, 1):
        print(f'\n[{number}/{len(suite.rows)}] {row.key}', flush=True)
        outcomes.append(
            Outcome(row.title, suite.data_title(row), suite.attempt(row),
                    row.layout))
        write_report(outcomes, head, folder)
    print(f'\n{as_table(outcomes)}\n\nIn {folder}: report.md, report.json')
    if all(outcome.attempt.lacking for outcome in outcomes):
        print(NOTHING.format(**vars(args)))
    failed = [
        row.key for row, outcome in zip(suite.rows, outcomes)
        if outcome.attempt.error
    ]
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}.')


def plan(suite: Suite, states: list[tuple[str, str]]) -> str:
    """Return a table of the rows and their states.

    Args:
        suite: The suite.
        states: The results of :meth:`.Suite.state`, one for each row.
    """
    rows = [('row', 'evaluation', 'data', 'from', 'state')]
    rows += [(row.key, row.title, suite.data_title(row), *state)
             for row, state in zip(suite.rows, states)]
    return table(rows)


if __name__ == '__main__':
    run_tool(main)
