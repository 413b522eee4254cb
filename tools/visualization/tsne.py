"""Draw a t-SNE map of the classes by their features, as in the paper:

    python tools/visualization/tsne.py --checkpoint FILE_OR_NAME --out DIR
    python tools/visualization/tsne.py --features FILE.npz --out DIR

DIR gets tsne.png, tsne.csv and, in features/, the features, which are used
again. If the folder holds features of other settings, weights or data, it is
an error.
"""

from mmengine.registry import init_default_scope

from mmdino.datasets.feature_rows import load_features
from mmdino.engine.arguments import (add_device, add_network_arguments,
                                     add_out, parse_network)
from mmdino.engine.configs import read_run
from mmdino.experiments.extraction import extract_features
from mmdino.pictures.tsne import draw_map, map_classes, write_csv
from mmdino.utils.device import use_device
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    add_network_arguments(parser)
    parser.add_argument('--features', help='saved features to draw instead')
    add_device(parser)
    add_out(parser, 'tsne')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the map (default: 0)')
    args = parse_network(parser, needed=False)
    if bool(args.features) == bool(args.checkpoint):
        parser.error('give --checkpoint FILE_OR_NAME, or --features FILE')
    args.out.mkdir(parents=True, exist_ok=True)
    if args.features:
        data = load_features(args.features)
    else:
        init_default_scope('mmdino')
        use_device(args.device)
        data = extract_features(
            read_run(args.config, args.checkpoint), args.checkpoint,
            args.out / 'features')['queries']
    print(f't-SNE of {len(data.features)} images ...', flush=True)
    found = map_classes(data, args.seed)
    write_csv(found, args.out / 'tsne.csv')
    draw_map(found, args.out / 'tsne.png')
    print(f'In {args.out}: tsne.png, tsne.csv')


if __name__ == '__main__':
    run_tool(main)
