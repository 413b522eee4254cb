"""Which data sets lie below a folder: python tools/check_data.py data

Names the first file that is missing of each and how to lay it out.
"""
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdino.datasets.benchmarks.layouts import LAYOUTS, first_missing
from mmdino.engine.configs import read_config
from mmdino.experiments.suite import missing_data, with_data
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument('folder', type=Path, help='where the data sets lie')
    folder = parser.parse_args().folder
    if not folder.is_dir():
        raise NotADirectoryError(f'There is no folder {str(folder)!r}.')
    init_default_scope('mmdino')
    for layout in LAYOUTS.values():
        cfg = read_config(layout.config)
        cause = first_missing(layout, folder) or missing_data(
            with_data(cfg, folder))
        print(f'{layout.title}: {cause or "complete"}')
        if cause:
            print('    ' + layout.tree.replace('\n', '\n    '))


if __name__ == '__main__':
    run_tool(main)
