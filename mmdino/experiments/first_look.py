"""A first look at a checkpoint: neighbours in a folder of images."""
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdino.apis import AttentionVisualizer, FeatureExtractor
from mmdino.datasets import Images
from mmdino.datasets.feature_rows import Features, save_features
from mmdino.datasets.transforms import UnreadableImageError
from mmdino.functional.knn import nearest_neighbours, top_accuracy, vote
from mmdino.models.backbones.attention import has_attention
from mmdino.models.frozen import FrozenTeacher, PixelFeatures
from mmdino.pictures.nearest import Picture, draw_nearest
from mmdino.utils.progress import track
from mmdino.weights import preprocessor_cfg

K, PIXELS, DRAWN, NEIGHBOURS = 20, 32, 6, 7
DRAWABLE = (1, 3)  # numbers of channels


class Seen(NamedTuple):
    """Images with their features and pixels."""
    items: list[dict]  # of N images: img_path and perhaps gt_label
    features: Tensor  # (N, D)
    pixels: Tensor  # (N, D') of the same crops
    views: list[Tensor]  # N uint8 images (3, h, w), BGR


def first_look(model: FrozenTeacher, images: Images, most: int,
               folder: Path) -> dict[str, float | None]:
    """Embed images, find neighbours among them and draw them.

    Args:
        model: The network.
        images: The data set; its pipeline is not used.
        most: Largest number of images, which are taken evenly from all.
        folder: Folder for ``features.npz``, ``nearest.png`` and, if the
            network is a ViT, ``attention.png``. Images of neither one nor
            three channels are not drawn.

    Returns:
        A dict of ``images``, the number of images; and ``knn_top1`` and
        ``knn_top1_pixels``, the leave-one-out accuracy of k-NN in percent, by
        features and by raw pixels, which is None with fewer than two classes.

    Raises:
        UnreadableImageError: If no image can be read.
    """
    seen = look([images.get_data_info(i) for i in spread(len(images), most)],
                model)
    classes = images.metainfo.get('classes')
    labels = [item.get('gt_label') for item in seen.items]
    known = None if None in labels else torch.tensor(labels)
    names = [item['img_path'] for item in seen.items]
    folder.mkdir(parents=True, exist_ok=True)
    save_features(
        folder / 'features.npz',
        Features(seen.features, known, names, classes and list(classes)))
    draw(seen, model, classes, folder)
    return dict(
        images=len(names),
        knn_top1=among_themselves(seen.features, known),
        knn_top1_pixels=among_themselves(seen.pixels, known))


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced indices below ``count``."""
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()


def look(items: list[dict], model: FrozenTeacher) -> Seen:
    """Compute features and raw pixels of the images that can be read.

    Args:
        items: Images, as dicts with ``img_path``.
        model: The network.

    Raises:
        UnreadableImageError: If no image can be read.
    """
    extractor = FeatureExtractor(model)
    raw = PixelFeatures(PIXELS, preprocessor_cfg(model.network_cfg))
    kept, features, pixels, views, cause = [], [], [], [], None
    for start in track(
            range(0, len(items), extractor.batch_size), 'Looking at images'):
        part = items[start:start + extractor.batch_size]
        try:
            batch = extractor.prepare([item['img_path'] for item in part])
        except UnreadableImageError as error:
            cause = error
            continue
        views += [*batch['inputs']]
        kept += [part[sample.sample_idx] for sample in batch['data_samples']]
        for network, rows in ((raw, pixels), (model, features)):
            rows += [s.feature.cpu() for s in network.test_step(batch)]
    if not kept:
        raise cause
    return Seen(kept, torch.stack(features), torch.stack(pixels), views)


def among_themselves(features: Tensor, labels: Tensor | None) -> float | None:
    """Compute leave-one-out k-NN top-1 in percent, None if there is none."""
    if labels is None or len(labels.unique()) < 2:
        return None
    similarities, places = without_self(features, K)
    found = vote(similarities, places, labels, (K, ))[K]
    return top_accuracy(found.classes, labels, len(labels.unique()))['top1']


def without_self(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return similarities and indices (N, k) of the nearest other images."""
    k = min(k, len(features) - 1)
    similarities, places = nearest_neighbours(features, features, k + 1)
    own = places == torch.arange(len(places))[:, None]
    # Among many identical images, an image may not be in its own list: then
    # drop the last one.
    own[~own.any(1), -1] = True
    return (similarities[~own].view(-1, k), places[~own].view(-1, k))


def draw(seen: Seen, model: FrozenTeacher, classes: Sequence[str] | None,
         folder: Path) -> None:
    """Draw neighbours and, by a ViT, attention, if the images can be drawn."""
    channels = len(seen.views[0])
    if channels not in DRAWABLE:
        print_log(
            f'Images of {channels} channels cannot be drawn, only those of '
            'one or three: there are no pictures.',
            logger='current',
            level=logging.WARNING)
        return
    draw_neighbours(seen, classes, folder / 'nearest.png')
    if has_attention(model.backbone):
        names = [item['img_path'] for item in seen.items]
        AttentionVisualizer(model).draw(
            [names[i] for i in spread(len(names), DRAWN)],
            out=str(folder / 'attention.png'))


def draw_neighbours(seen: Seen, classes: Sequence[str] | None,
                    out: Path) -> None:
    """Draw some images with their nearest neighbours."""
    if len(seen.items) < 2:
        return
    similarities, places = without_self(seen.features, NEIGHBOURS)
    rows = []
    for query in spread(len(places), DRAWN):
        near = zip(places[query].tolist(), similarities[query].tolist())
        rows.append([picture(seen, classes, query)] +
                    [picture(seen, classes, p, s) for p, s in near])
    draw_nearest(rows, out)


def picture(seen: Seen,
            classes: Sequence[str] | None,
            place: int,
            similarity: float | None = None) -> Picture:
    """Return an image, as resized for the network, with its class name."""
    label = seen.items[place].get('gt_label')
    name = classes[label] if classes and label is not None else None
    pixels = seen.views[place].flip(0).permute(1, 2, 0).numpy()
    return Picture(pixels, name, similarity)
