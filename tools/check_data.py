"""Check which data sets are in a folder: python tools/check_data.py data

For each incomplete data set it prints the first missing file and the expected
folders.
"""
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdino.datasets.benchmarks.layouts import LAYOUTS, first_missing
from mmdino.engine.configs import read_config
from mmdino.experiments.suite import missing_data, with_data
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument('folder', type=Path, help='folder of the data sets')
    folder = parser.parse_args().folder
    if not folder.is_dir():
        raise NotADirectoryError(f'There is no folder {str(folder)!r}: name '
                                 'the folder of the data sets.')
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
