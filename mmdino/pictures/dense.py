"""Figures of patch features: colours, matches, boxes.

Letters: B images, (h, w) the patch grid, D features, P matches. Images are
(H, W, 3) uint8 RGB.
"""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmdino.functional.dense import Components, principal_components

QUANTILES = (.01, .99)  # of a component, drawn as 0 and full colour
MOST = 20_000  # largest number of patches that components are computed from


class PatchColours:
    """Colour patches by their first three principal components.

    The components are computed from all images together, so that similar
    patches have similar colours in all of them (arXiv 2304.07193, figure 1).

    With ``foreground``, Otsu's threshold of the first component divides all
    patches into two parts. The part that is rarer at the borders of the images
    is the foreground; the components are computed from it alone, and the other
    part is black.

    Args:
        patches: Features of each image's patches, (h, w, D), of any grids.
        foreground: Whether to draw the foreground only.

    Raises:
        ValueError: If there are three patches or fewer.
    """

    def __init__(self,
                 patches: Sequence[Tensor],
                 foreground: bool = False) -> None:
        every = torch.cat([p.flatten(0, 1) for p in patches]).double()
        self.split: tuple[Components, float, bool] | None = None
        if foreground:
            self.split = _split(every, patches)
            every = every[self._is_foreground(every)]
        self.components = principal_components(_sample(every))
        colours = self.components.project(every)
        quantiles = torch.tensor(QUANTILES, dtype=colours.dtype)
        self.low, self.high = _sample(colours).quantile(quantiles, dim=0)

    def __call__(self, patches: Tensor) -> np.ndarray:
        """Return colours (h, w, 3), uint8 RGB, of patches (h, w, D)."""
        patches = patches.double()
        colours = self.components.project(patches)
        span = (self.high - self.low).clamp(min=1e-12)
        colours = ((colours - self.low) / span).clamp(0, 1)
        if self.split is not None:
            colours[~self._is_foreground(patches)] = 0
        return (255 * colours).round().byte().numpy()

    def _is_foreground(self, patches: Tensor) -> Tensor:
        components, threshold, above = self.split
        return (components.project(patches)[..., 0] > threshold) == above


def _split(every: Tensor,
           patches: Sequence[Tensor]) -> tuple[Components, float, bool]:
    """Split the patches into foreground and background.

    Returns:
        The first component, its threshold, and whether the foreground is
        above the threshold.
    """
    components = principal_components(_sample(every), n=1)
    values = components.project(every)[:, 0]
    low, high = values.min(), values.max()
    scaled = (255 * (values - low) / (high - low).clamp(min=1e-12)).round()
    cut, _ = cv2.threshold(scaled.byte().numpy(), 0, 1,
                           cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = float(low + (cut + .5) / 255 * (high - low))
    is_border = torch.cat([_border(p.shape[:2]).flatten() for p in patches])
    above = values > threshold
    share = above[is_border].double().mean()
    return components, threshold, bool(share < above.double().mean())


def _border(grid: tuple[int, int]) -> Tensor:
    border = torch.ones(grid, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border


def _sample(features: Tensor) -> Tensor:
    """Return at most ``MOST`` rows, evenly spaced."""
    step = max(1, -(-len(features) // MOST))
    return features[::step]


def enlarge(colours: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Enlarge colours (h, w, 3) to an image of (height, width)."""
    return cv2.resize(colours, shape[::-1], interpolation=cv2.INTER_CUBIC)


def draw_pairs(images: Sequence[np.ndarray],
               pictures: Sequence[np.ndarray],
               out: str | Path | None = None,
               columns: int = 8) -> Figure:
    """Draw images, each above its coloured patches.

    Args:
        images: B images.
        pictures: What to draw below each image, of any size.
        out: File to save the figure to.
        columns: Number of images side by side.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(
        figsize=(1.5 * columns, 3 * rows), layout='constrained', dpi=120)
    figure.get_layout_engine().set(w_pad=.02, h_pad=.02, wspace=0, hspace=0)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (image, picture) in enumerate(zip(images, pictures)):
        row, column = divmod(i, columns)
        axes[2 * row, column].imshow(image)
        axes[2 * row + 1, column].imshow(picture)
    if out is not None:
        figure.savefig(out)
    return figure


def draw_matches(first: np.ndarray,
                 second: np.ndarray,
                 points: np.ndarray,
                 out: str | Path | None = None) -> Figure:
    """Draw two images side by side, with lines between matches.

    Args:
        first: Left image.
        second: Right image.
        points: (P, 4): x and y in the first, x and y in the second image, in
            pixels.
        out: File to save the figure to.
    """
    height = max(first.shape[0], second.shape[0])
    canvas = np.full((height, first.shape[1] + second.shape[1] + 8, 3), 255,
                     np.uint8)
    shift = first.shape[1] + 8
    canvas[:first.shape[0], :first.shape[1]] = first
    canvas[:second.shape[0], shift:] = second
    figure = Figure(
        figsize=(9, 9 * height / canvas.shape[1]), dpi=140, frameon=False)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(canvas)
    axis.set_axis_off()
    # Neighbours in the first image have neighbouring colours.
    order = np.argsort(np.argsort(points[:, 0] + points[:, 1], kind='stable'))
    axis.set_prop_cycle(None)
    for (x, y, u, v), place in zip(points, order):
        hue = np.uint8([[[int(170 * place / max(len(points), 1)), 230, 255]]])
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0] / 255
        axis.plot([x, u + shift], [y, v], color=colour, linewidth=1, alpha=.8)
        axis.plot([x, u + shift], [y, v],
                  'o',
                  color=colour,
                  markersize=4,
                  markeredgecolor='black',
                  markeredgewidth=.4)
    axis.set(xlim=(0, canvas.shape[1]), ylim=(height, 0))
    if out is not None:
        figure.savefig(out)
    return figure


def draw_box(
    image: np.ndarray,
    box: Sequence[float],
    colour: tuple[int, int, int] = (220, 38, 38)
) -> np.ndarray:
    """Return a copy of an image with a box.

    Args:
        image: (H, W, 3) uint8.
        box: Top, left, bottom and right, as fractions of height and width.
        colour: In the channel order of the image.
    """
    height, width = image.shape[:2]
    top, left, bottom, right = box
    thickness = max(1, round(min(height, width) / 80))
    return cv2.rectangle(
        image.copy(order='C'), (round(left * width), round(top * height)),
        (round(right * width) - 1, round(bottom * height) - 1), colour,
        thickness)
