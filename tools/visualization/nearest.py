"""Draw test images with the most similar images of the gallery:

    python tools/visualization/nearest.py --checkpoint FILE --out FILE.png

The queries are the test set, and the gallery that of the test loop, in the
config of the run, which the checkpoint stores. Their features are saved in the
folder features/ beside FILE.png and used again. If the folder holds features
of other settings, weights or data, it is an error.
"""
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmdino.datasets.feature_rows import Features
from mmdino.engine.arguments import (add_device, add_network_arguments,
                                     add_out, parse_network)
from mmdino.engine.configs import read_run
from mmdino.engine.testing import fill_sizes, use_checkpoint
from mmdino.experiments.extraction import extract_features
from mmdino.functional.knn import nearest_neighbours
from mmdino.pictures.nearest import Picture, draw_nearest
from mmdino.registry import DATASETS
from mmdino.utils.device import use_device
from mmdino.utils.tool import Parser, run_tool


def main() -> None:
    parser = Parser(__doc__)
    add_network_arguments(parser)
    add_device(parser)
    add_out(parser, 'nearest/nearest.png')
    parser.add_argument(
        '--features',
        type=Path,
        help='folder of the features (default: features/ beside FILE.png)')
    parser.add_argument(
        '--queries',
        type=int,
        default=8,
        help='number of queries, one a row (default: 8)')
    parser.add_argument(
        '-k',
        '--k',
        type=int,
        default=8,
        help='number of neighbours of each query (default: 8)')
    args = parse_network(parser)
    if min(args.queries, args.k) < 1:
        parser.error('--queries and -k must be positive, got '
                     f'{args.queries} and {args.k}')
    init_default_scope('mmdino')
    use_device(args.device)
    cfg = read_run(args.config, args.checkpoint)
    found = extract_features(cfg, args.checkpoint, args.features
                             or args.out.parent / 'features')
    queries, gallery = found['queries'], found['gallery']
    random = np.random.RandomState(0)  # data sets are often sorted by class
    chosen = random.permutation(len(queries.features))[:args.queries].tolist()
    similarities, places = nearest_neighbours(queries.features[chosen],
                                              gallery.features, args.k)
    use_checkpoint(cfg, args.checkpoint)
    fill_sizes(cfg)
    shown = DATASETS.build(cfg.test_dataloader.dataset)
    source = DATASETS.build(cfg.test_cfg.gallery_dataloader.dataset)
    rows = []
    for query, near, alike in zip(chosen, places.tolist(),
                                  similarities.tolist()):
        row = [picture(shown, queries, query)]
        row += [picture(source, gallery, p, s) for p, s in zip(near, alike)]
        rows.append(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_nearest(rows, args.out)
    print(args.out)


def picture(dataset: Dataset,
            data: Features,
            place: int,
            similarity: float | None = None) -> Picture:
    """Return an image, as resized for the network, with its class name.

    Args:
        dataset: Data set with ``inputs`` (3, H, W), uint8, BGR.
        data: Its features, with labels and class names.
        place: Row of the image in the features, which leave out images that
            cannot be read.
        similarity: Similarity to the query, if it is a neighbour.
    """
    number = place if data.indices is None else int(data.indices[place])
    image = torch.as_tensor(dataset[number]['inputs']).flip(0)
    name = None
    if data.labels is not None:
        label = int(data.labels[place])
        name = data.classes[label] if data.classes else str(label)
    return Picture(image.permute(1, 2, 0).numpy(), name, similarity)


if __name__ == '__main__':
    run_tool(main)
