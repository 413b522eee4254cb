"""Figures of the class token's attention (arXiv 2104.14294, figure 1).

draw_attention makes a figure for a paper; AttentionMaps draws images and
frames of videos of any size.

Letters: H heads, (h, w) the patch grid, (H', W') pixels of an image.
"""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmdino.datasets.decoding import from_array
from mmdino.functional.attention import attention_jaccard, mass_threshold
from mmdino.models import FrozenTeacher
from mmdino.pictures.inputs import network_input

RED = np.array([220, 38, 38])


def draw_attention(images: Sequence[np.ndarray],
                   attentions: Sequence[Tensor],
                   masks: Sequence[np.ndarray] | None = None,
                   out: str | Path | None = None,
                   mass: float = 0.6,
                   titles: Sequence[str] | None = None) -> Figure:
    """Draw a row for each image: input, a map a head, thresholded mask.

    The mask is that of the attention averaged over heads. With ``masks`` it is
    that of the head with the largest Jaccard index J, and the objects are
    outlined in white.

    Args:
        images: RGB images, each (H', W', 3) uint8, of any sizes.
        attentions: Class-token attention of each image, (H, h, w).
        masks: Integer mask of each image, 0 for background, 255 for ignored
            pixels; resized to the image by nearest neighbours.
        out: File to save the figure to.
        mass: Fraction of the attention that the mask keeps.
        titles: Names of the images, shown left of them.

    Raises:
        ValueError: If there is no image, or another number of attentions.
    """
    if not len(images) or len(images) != len(attentions):
        raise ValueError(f'draw_attention got {len(images)} images and '
                         f'{len(attentions)} attentions.')
    num_heads = attentions[0].shape[0]
    shape = (len(images), num_heads + 2)
    aspect = images[0].shape[0] / images[0].shape[1]
    size = min(1.5, max(1.1, 18 / shape[1]))  # inches
    figure = Figure(
        figsize=(size * shape[1], (size * aspect + .03) * shape[0] + .2),
        layout='constrained',
        dpi=120)
    figure.get_layout_engine().set(w_pad=.02, h_pad=.02, wspace=0, hspace=0)
    axes = figure.subplots(*shape, squeeze=False)
    for row, image, attention in zip(range(len(images)), images, attentions):
        attention = attention.detach().cpu().float()
        mask = None if masks is None else _resize(
            np.asarray(masks[row]), image.shape[:2])
        _draw_row(axes[row], image, attention, mask, mass)
        if titles is not None:
            axes[row, 0].set_ylabel(titles[row], fontsize=9)
    heads = [f'head {head}' for head in range(1, num_heads + 1)]
    for axis, name in zip(axes[0], ['input', *heads, f'{mass:.0%} mask']):
        axis.set_title(name, fontsize=10)
    if out is not None:
        figure.savefig(out)
    return figure


def overlay(image: np.ndarray,
            kept: np.ndarray,
            color: np.ndarray = RED,
            strength: float = 0.55) -> np.ndarray:
    """Tint the kept pixels of an image and darken the others.

    Args:
        image: (H', W', 3) uint8.
        kept: (h, w) bool, resized to the image by nearest neighbours.
        color: Colour of the tint, in the channel order of the image.
        strength: Opacity of the tint, in [0, 1].
    """
    kept = _resize(kept, image.shape[:2])[..., None]
    tinted = (1 - strength) * image + strength * color
    return np.where(kept, tinted, .6 * image).round().astype(np.uint8)


def _draw_row(axes, image: np.ndarray, attention: Tensor,
              mask: np.ndarray | None, mass: float) -> None:
    height, width = image.shape[:2]
    extent = (-.5, width - .5, height - .5, -.5)
    axes[0].imshow(image)
    for axis, head in zip(axes[1:], attention):
        axis.imshow(head, extent=extent, cmap='inferno', vmin=0)
    kept, caption = _choose(attention, mask, mass)
    axes[-1].imshow(overlay(image, kept))
    box = dict(facecolor='black', alpha=.6, edgecolor='none', pad=1.5)
    style = dict(fontsize=7, color='white', clip_on=True, bbox=box)
    axes[-1].text(.03, .04, caption, transform=axes[-1].transAxes, **style)
    if mask is not None:
        objects = (mask > 0) & (mask != 255)
        axes[-1].contour(objects, [.5], colors='white', linewidths=1.2)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def _choose(attention: Tensor, mask: np.ndarray | None, mass: float):
    """Return the mask to show, (h, w) bool, and its caption."""
    if mask is not None:
        objects = torch.from_numpy(mask)
        scores = [
            attention_jaccard(head[None], objects, mass) for head in attention
        ]
        if len(scores[0]):
            means = [score.mean().item() for score in scores]
            best = int(np.argmax(means))
            kept = mass_threshold(attention, mass)[best]
            return kept.numpy(), f'head {best + 1}, J {means[best]:.2f}'
    kept = mass_threshold(attention.mean(dim=0, keepdim=True), mass)[0]
    return kept.numpy(), 'mean of heads'


def _resize(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize a mask to (height, width) by nearest neighbours."""
    rows = np.arange(shape[0]) * mask.shape[0] // shape[0]
    columns = np.arange(shape[1]) * mask.shape[1] // shape[1]
    return mask[rows[:, None], columns]


class AttentionMaps:
    """The attention of a network, as maps, masks and overlays.

    Args:
        model: A network whose backbone gives attention.
        size: Images are resized to this length of the short side in pixels;
            None keeps their size. Both sides are then rounded to multiples of
            the patch size. The resizing is Pillow's antialiased bicubic, as in
            the test pipelines.
        mass: Fraction of the mean attention that the mask keeps.

    Raises:
        ValueError: If the backbone gives no attention, or ``size`` or ``mass``
            is out of range.
    """

    def __init__(self,
                 model: FrozenTeacher,
                 size: int | None = None,
                 mass: float = 0.6) -> None:
        model.require_attention()
        if size is not None and size < 1 or not 0 < mass <= 1:
            raise ValueError('size must be positive and mass in (0, 1], got '
                             f'{size} and {mass}.')
        self.model = model
        self.size = size
        self.mass = mass

    @torch.no_grad()
    def attend(self, image: np.ndarray) -> Tensor:
        """Compute the attention (H, h, w) of the teacher's class token.

        Args:
            image: (H', W', C) in the order of LoadImage, of the network's
                channels.

        Returns:
            The attention, on the CPU.
        """
        inputs = network_input(self.model, image, self.size)
        return self.model.class_attention(inputs)[0].cpu()

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Return an image (H', W', 3), uint8 BGR, with its mask in red."""
        seen = from_array(image[..., ::-1], self.model.color_type)
        return self.overlay(image, self.attend(seen))

    def mask(self, attention: Tensor) -> np.ndarray:
        """Return the mask (h, w), bool, of an attention (H, h, w).

        It holds the patches with the largest attention, averaged over heads,
        which sum to ``mass`` of it.
        """
        mean = attention.mean(dim=0, keepdim=True)
        return mass_threshold(mean, self.mass)[0].numpy()

    def overlay(self, image: np.ndarray, attention: Tensor) -> np.ndarray:
        """Return an image, uint8 BGR, with the mask of its attention in red.
        """
        return overlay(image, self.mask(attention), color=RED[::-1])

    def pictures(self, image: np.ndarray,
                 attention: Tensor) -> dict[str, np.ndarray]:
        """Return the figures of an image, as large as it, uint8 BGR.

        Args:
            image: (H', W', 3) uint8 BGR.
            attention: (H, h, w), of this image.

        Returns:
            ``head_01``, ``head_02``, ... and ``mean`` are maps, ``mask`` is
            the thresholded mean, ``overlay`` the image with the mask.
        """
        shape = image.shape[:2]
        pictures = {
            f'head_{i:02d}': heat_map(head, shape)
            for i, head in enumerate(attention, 1)
        }
        mask = self.mask(attention).astype(np.uint8) * 255
        return dict(
            pictures,
            mean=heat_map(attention.mean(dim=0), shape),
            mask=_enlarge(mask, shape),
            overlay=self.overlay(image, attention))


def heat_map(values: Tensor, shape) -> np.ndarray:
    """Draw a map (h, w) as a BGR image of (height, width), 0 in black."""
    scaled = (255 * values / values.max()).round().byte().numpy()
    return cv2.applyColorMap(_enlarge(scaled, shape), cv2.COLORMAP_INFERNO)


def _enlarge(values: np.ndarray, shape) -> np.ndarray:
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_NEAREST)
