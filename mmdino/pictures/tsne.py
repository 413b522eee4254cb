"""A map of classes by their features (arXiv 2104.14294, figure 11).

Letters: N images, M of them drawn, C classes, D features.
"""
import csv
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from mmengine.logging import print_log
from torch import Tensor

from mmdino.datasets.feature_rows import Features
from mmdino.weights.io import replaced

FEW = 40  # up to this many classes, single images are drawn as well
SHOWN = 3000  # largest number of images drawn
ALIKE = 1e-6  # relative difference of features that rounding explains


class ClassMap(NamedTuple):
    """The positions of classes and images in the plane.

    Attributes:
        classes: (C, 2), positions of the class means.
        images: (M, 2), positions of the drawn images; M is 0 with many
            classes.
        labels: (M,), classes of the drawn images, in [0, C).
        names: Names of the C classes.
        counts: (C,), number of images of each class.
    """
    classes: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    counts: np.ndarray


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean feature (C, D) of each label that occurs."""
    _, compact = labels.unique(return_inverse=True)
    sums = torch.zeros(int(compact.max()) + 1, features.shape[1]).double()
    sums.index_add_(0, compact, features.double())
    return (sums / compact.bincount()[:, None]).float()


def map_classes(data: Features, seed: int = 0) -> ClassMap:
    """Map the class means to the plane by t-SNE, as in the paper.

    A few means alone do not make a map. With at most ``FEW`` classes, up to
    ``SHOWN`` images are mapped together with the means.

    Args:
        data: Features (N, D) with labels.
        seed: Seed of the choice of images and of t-SNE.

    Raises:
        ValueError: If there are no labels or fewer than two classes.
    """
    if data.labels is None:
        raise ValueError('The features have no labels, but t-SNE maps '
                         'classes: extract them from images in class folders '
                         'or with annotations.')
    present, counts = data.labels.unique(return_counts=True)
    if len(present) < 2:
        raise ValueError('A map needs images of at least two classes, got '
                         f'{len(present)}.')
    shown = torch.empty(0, dtype=torch.int64)
    if len(present) <= FEW:
        generator = torch.Generator().manual_seed(seed)
        shown = torch.randperm(len(data.labels), generator=generator)[:SHOWN]
    means = class_means(data.features, data.labels)
    places = embed(torch.cat([means, data.features[shown]]), seed)
    names = [
        data.classes[label] if data.classes else str(label)
        for label in present.tolist()
    ]
    labels = torch.searchsorted(present, data.labels[shown])
    return ClassMap(places[:len(present)], places[len(present):],
                    labels.numpy(), names, counts.numpy())


def embed(features: Tensor, seed: int) -> np.ndarray:
    """Compute positions (N, 2) by scikit-learn's t-SNE, started from PCA.

    Features that are all alike have no principal components, on which t-SNE
    crashes: these start at random, with a warning.
    """
    from sklearn.manifold import TSNE  # a slow import
    perplexity = min(30., (len(features) - 1) / 3)
    spread = (features - features[0]).abs().max()
    alike = bool(spread <= ALIKE * features.abs().max())
    if alike:
        print_log(
            f'The {len(features)} features are all alike: their map says '
            'nothing. Check the images and the checkpoint.',
            logger='current',
            level=logging.WARNING)
    tsne = TSNE(
        perplexity=perplexity,
        init='random' if alike else 'pca',
        random_state=seed)
    return tsne.fit_transform(features.numpy())


def write_csv(found: ClassMap, path: str | Path) -> None:
    """Write class, x, y and number of images, one class a line."""
    with replaced(str(path)) as part, open(
            part, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['class', 'x', 'y', 'images'])
        for name, (x, y), count in zip(found.names, found.classes.tolist(),
                                       found.counts.tolist()):
            writer.writerow([name, x, y, count])


def draw_map(found: ClassMap, out: str | Path | None = None) -> Figure:
    """Draw a map of classes.

    More than ``FEW`` classes are drawn with their names; fewer have a colour
    each and are drawn together with their images.
    """
    if len(found.names) > FEW:
        figure = _draw_names(found)
    else:
        figure = _draw_colors(found)
    axis = figure.axes[0]
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    if out is not None:
        figure.savefig(out)
    return figure


def _draw_names(found: ClassMap) -> Figure:
    side = min(40., .9 * len(found.names)**.5 + 3)
    figure = Figure(figsize=(side, side), layout='constrained', dpi=100)
    axis = figure.add_subplot()
    turn = np.arange(len(found.names)) / len(found.names)
    axis.scatter(*found.classes.T, s=12, c=colormaps['hsv'](turn))
    for name, place in zip(found.names, found.classes):
        axis.annotate(
            name,
            place,
            xytext=(0, 3),
            textcoords='offset points',
            ha='center',
            fontsize=7)
    return figure


def _draw_colors(found: ClassMap) -> Figure:
    height = max(6., .23 * len(found.names) + .5)  # of the legend
    figure = Figure(
        figsize=(height + 2, height), layout='constrained', dpi=100)
    axis = figure.add_subplot()
    colors = colormaps['tab10' if len(found.names) <= 10 else 'nipy_spectral']
    spread = np.arange(len(found.names))
    color = colors(spread if colors.N == 10 else (spread + .5) / len(spread))
    axis.scatter(
        *found.images.T, s=16, c=color[found.labels], alpha=.6, linewidths=0)
    for name, place, shade in zip(found.names, found.classes, color):
        axis.scatter(
            *place, s=110, color=shade, edgecolors='black', label=name)
    figure.legend(
        title='class mean', loc='outside right center', frameon=False)
    return figure
