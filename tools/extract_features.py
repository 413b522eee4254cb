"""Save the features of a config's gallery and queries:

    python tools/extract_features.py CONFIG CHECKPOINT --out DIR

DIR gets gallery.npz and queries.npz, which configs/eval/knn_features.py,
configs/eval/low-shot_features.py and the tools in tools/visualization read.
"""
import argparse

from mmdino.engine.arguments import add_arguments
from mmdino.engine.launch import leave_process_group, load_config
from mmdino.evaluation.extraction import extract_features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='folder of the features')
    args = parser.parse_args()
    found = extract_features(load_config(args), args.checkpoint, args.out)
    for part, data in found.items():
        print(f'{part}: {len(data.features)} images, '
              f'{data.features.shape[1]} features each')
    leave_process_group()


if __name__ == '__main__':
    main()
