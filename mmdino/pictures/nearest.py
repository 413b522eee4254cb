"""Figures of images and their nearest neighbours."""
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

RIGHT, WRONG, QUERY = '#15803d', '#dc2626', '#111827'


class Picture(NamedTuple):
    """One image of the figure.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: Its class, or None.
        similarity: Cosine similarity to the row's query; None for the query.
    """
    image: np.ndarray
    label: str | None = None
    similarity: float | None = None


def draw_nearest(rows: Sequence[list[Picture]],
                 out: str | Path | None = None) -> Figure:
    """Draw a row for each query: the query, then its neighbours.

    A neighbour's frame is green if it has the class of the query, red if it
    has another one, and grey without classes.

    Args:
        rows: A list of pictures for each query, all of the same length.
        out: File to save the figure to.

    Raises:
        ValueError: If there is no picture.
    """
    if not rows or not rows[0]:
        raise ValueError('draw_nearest got no picture.')
    columns, size = len(rows[0]), 1.35
    figure = Figure(
        figsize=(size * columns, (size + .22) * len(rows) + .25),
        layout='constrained',
        dpi=100)
    figure.get_layout_engine().set(w_pad=.03, h_pad=.02, wspace=0, hspace=0)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, pictures in zip(axes, rows):
        for axis, picture in zip(row, pictures):
            _draw(axis, picture, pictures[0])
    for axis, title in zip(axes[0], ['query', *range(1, columns)]):
        axis.set_title(title, fontsize=10)
    if out is not None:
        figure.savefig(out)
    return figure


def _draw(axis, picture: Picture, query: Picture) -> None:
    axis.imshow(picture.image)
    axis.set(xticks=[], yticks=[])
    color = QUERY
    caption = picture.label or ''
    if picture.similarity is not None:
        color = 'gray' if None in (picture.label, query.label) else (
            RIGHT if picture.label == query.label else WRONG)
        caption = f'{caption} {picture.similarity:.4f}'.strip()
    axis.set_xlabel(caption[-22:], fontsize=8, color=color, labelpad=2)
    for spine in axis.spines.values():
        spine.set(color=color, linewidth=2.5)
