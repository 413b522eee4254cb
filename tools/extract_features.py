"""Save the features of a config's gallery and queries:

    python tools/extract_features.py --checkpoint FILE_OR_NAME --out DIR

DIR gets gallery.npz and queries.npz. The configs knn_features.py and
low-shot_features.py in configs/benchmarks and tools in tools/visualization
read these files. job.json records the settings, weights and data that they
come from. When the command is given again, it keeps existing files; if they
come from other settings, it stops with an error.
"""

from mmdino.engine.arguments import (add_network_arguments, add_run_arguments,
                                     parse_network)
from mmdino.engine.configs import load_config
from mmdino.engine.launch import leave_process_group
from mmdino.experiments.extraction import extract_features
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    add_network_arguments(parser)
    add_run_arguments(parser)
    parser.add_argument('--out', required=True, help='folder of the features')
    args = parse_network(parser)
    found = extract_features(load_config(args), args.checkpoint, args.out)
    for part, data in found.items():
        print(f'{part}: {len(data.features)} images, '
              f'{data.features.shape[1]} features each')
    leave_process_group()


if __name__ == '__main__':
    run_tool(main)
