"""Run every evaluation that the data at hand allows and write one table:

    python tools/eval_suite.py --checkpoint FILE_OR_NAME --data data

The run's own data are those of its config, which MMEngine keeps in the
checkpoint; --config gives another. The work dir gets report.md and
report.json, and a folder with the config, the log and the figures of each
evaluation; those that were finished are kept when the command is given again.
"""
import argparse
import os.path as osp
from pathlib import Path
from typing import List

from mmengine.registry import init_default_scope

from mmdino.engine.arguments import add_network_arguments, parse_network
from mmdino.experiments.report import Outcome, table, write_report
from mmdino.experiments.suite import EVALUATIONS
from mmdino.experiments.suite_runner import SuiteRunner

PICTURES = dict(tsne='t-SNE', nearest='nearest neighbours')
KEYS = [*(e.key for e in EVALUATIONS), *PICTURES]
LONG = [e.key for e in EVALUATIONS if e.long]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_arguments(parser)
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data'),
        help='folder of the data sets, see configs/benchmarks/README.md')
    parser.add_argument('--work-dir', type=Path)
    parser.add_argument(
        '--only',
        nargs='+',
        choices=KEYS,
        default=[key for key in KEYS if key not in LONG],
        metavar='KEY',
        help=f'some of: {" ".join(KEYS)}; by default all but fine-tuning')
    parser.add_argument(
        '--processes', type=int, default=1, help='GPUs, or CPU processes')
    return parse_network(parser)


def main() -> None:
    args = parse_args()
    init_default_scope('mmdino')
    names = [
        osp.splitext(osp.basename(path))[0]
        for path in (args.config, args.checkpoint) if path
    ]
    folder = args.work_dir or Path('work_dirs') / 'eval' / '_'.join(names)
    runner = SuiteRunner(args.config, args.checkpoint, args.data, folder,
                         args.processes)
    head = dict(
        config=args.config or 'in the checkpoint',
        checkpoint=args.checkpoint,
        data=str(args.data))
    outcomes: List[Outcome] = []
    for number, key in enumerate(args.only, 1):
        print(f'\n[{number}/{len(args.only)}] {key}', flush=True)
        outcomes.append(run(key, runner))
        write_report(outcomes, head, folder)
    print(f'\n{table(outcomes)}\n\nIn {folder}: report.md, report.json')


def run(key: str, runner: SuiteRunner) -> Outcome:
    if key == 'tsne':
        features = runner.job.features / 'queries.npz'
        options = ['--features', features, '--out', runner.folder / key]
    elif key == 'nearest':
        options = [
            '--features', runner.job.features, runner.config,
            runner.job.checkpoint, '--out', runner.folder / key / 'nearest.png'
        ]
    else:
        evaluation = next(e for e in EVALUATIONS if e.key == key)
        return runner.evaluate(evaluation)
    return runner.draw(key, PICTURES[key], options)


if __name__ == '__main__':
    main()
