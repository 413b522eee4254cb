"""Draw a map of the classes by their features, as in the paper's t-SNE:

    python tools/visualization/tsne.py CONFIG CHECKPOINT --out DIR
    python tools/visualization/tsne.py --features FILE.npz --out DIR

DIR gets tsne.png and tsne.csv.
"""
import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.datasets.feature_rows import load_features
from mmdino.evaluation.extraction import extract_features
from mmdino.pictures.tsne import draw_map, map_classes, write_csv


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='has the test set to draw')
    parser.add_argument('checkpoint', nargs='?')
    parser.add_argument('--features', help='saved features to draw instead')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/tsne'))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if bool(args.features) == bool(args.checkpoint):
        parser.error('give CONFIG and CHECKPOINT, or --features FILE')
    args.out.mkdir(parents=True, exist_ok=True)
    if args.features:
        data = load_features(args.features)
    else:
        init_default_scope('mmdino')
        data = extract_features(
            Config.fromfile(args.config), args.checkpoint,
            args.out / 'features')['queries']
    print(f't-SNE of {len(data.features)} images ...', flush=True)
    found = map_classes(data, args.seed)
    write_csv(found, args.out / 'tsne.csv')
    draw_map(found, args.out / 'tsne.png')
    print(f'In {args.out}: tsne.png, tsne.csv')


if __name__ == '__main__':
    main()
