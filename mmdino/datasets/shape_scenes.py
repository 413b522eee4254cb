"""ShapeScenes: synthetic images of patterned shapes.

The views of an image must have nothing in common but its class, or DINO learns
to tell single images apart instead of classes. Therefore backgrounds and
distractors come from one distribution for all images, and the colours do not
depend on the class; the augmentation varies them. Each class has an outline
and a pattern, and the pattern is visible even in a small crop of the object.
"""
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from mmdino.datasets.transforms import build_steps
from mmdino.registry import DATASETS

# Outlines are polygons (N, 2) with area 1 and centroid (0, 0).


def _unit(points: np.ndarray) -> np.ndarray:
    """Move a polygon's centroid to the origin and scale its area to 1."""
    moments = cv2.moments(points.astype(np.float32))
    center = np.array([moments['m10'], moments['m01']]) / moments['m00']
    return (points - center) / np.sqrt(moments['m00'])


def _polar(radius, num: int = 60) -> np.ndarray:
    """Sample ``radius(angle)`` at ``num`` angles."""
    angle = np.arange(num) * 2 * np.pi / num
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius(angle)[:, None]


def _regular(sides: int) -> np.ndarray:
    return _polar(np.ones_like, sides)


def _star(points: int, inner: float) -> np.ndarray:
    radius = np.tile([1, inner], points)
    return _polar(lambda _: radius, 2 * points)


def _heart() -> np.ndarray:
    t = np.arange(60) * 2 * np.pi / 60
    return np.stack([
        16 * np.sin(t)**3,
        5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t) - 13 * np.cos(t)
    ], 1)


def _cross(arm: float) -> np.ndarray:
    corner = np.array([[arm, 1], [arm, arm], [1, arm]])
    turn = np.array([[0, -1], [1, 0]])
    return np.concatenate(
        [corner @ np.linalg.matrix_power(turn, n) for n in range(4)])


# Patterns are functions of a point (x, y), in units of the period. The sign of
# the value chooses the colour. The slope is about 1, which lets _paint draw
# edges that are one pixel wide.


def _cell(t: np.ndarray) -> np.ndarray:
    """Compute the distance to the middle of the unit cell, in [0, .5]."""
    return np.abs(t - np.floor(t) - .5)


def _wave(t: np.ndarray) -> np.ndarray:
    """Compute a triangle wave of period 1 and slope 1."""
    return _cell(t) - .25


def _bricks(x, y):
    y = 1.2 * y
    x = .55 * x + .5 * np.mod(np.floor(y), 2)
    return .36 - np.maximum(_cell(y), 1.8 * _cell(x) - .4)


def _triangles(x, y):
    x, y = .8 * x, .8 * .8660254 * y
    return .6 * (
        np.sin(np.pi * 2 * y / 1.7320508) * np.sin(np.pi * (x + y * .57735)) *
        np.sin(np.pi * (x - y * .57735)))


def _plusses(x, y):
    x, y = _cell(.8 * x), _cell(.8 * y)
    return np.minimum(.13 - np.minimum(x, y), .4 - np.maximum(x, y))


PATTERNS = dict(
    rings=lambda x, y: _wave(np.hypot(x, y)),
    checks=lambda x, y: 8 * _wave(.5 * x) * _wave(.5 * y),
    stripes=lambda x, y: _wave(x),
    dots=lambda x, y: .32 - np.hypot(_cell(x), _cell(y)),
    zigzag=lambda x, y: _wave(x + 2 * _wave(.5 * y)),
    bricks=_bricks,
    hatch=lambda x, y: np.maximum(_cell(x), _cell(y)) - .36,
    triangles=_triangles,
    spokes=lambda x, y: .2 * np.sin(6 * np.arctan2(y, x)) * np.hypot(x, y),
    plusses=_plusses)

# Outline, pattern, mean period of the pattern as a fraction of the image side.
CLASSES = tuple(
    (_unit(outline), PATTERNS[pattern], period)
    for outline, pattern, period in (
        (_regular(60), 'rings', 0.22),
        (_regular(4) @ (np.array([[1, 1], [-1, 1]]) * .5**.5), 'checks', 0.2),
        (_regular(60) * (1, .6), 'stripes', 0.13),
        (_heart(), 'dots', 0.19),
        (_star(5, .5)[:, ::-1] * (1, -1), 'zigzag', 0.17),
        (np.array([[2, 1], [-2, 1], [-2, -1], [2, -1]]), 'bricks', 0.21),
        (_cross(.38), 'hatch', 0.15),
        (_regular(3)[:, ::-1] * (1, -1), 'triangles', 0.26),
        (_polar(lambda a: 1 + .25 * np.cos(6 * a)), 'spokes', 0.2),
        (_regular(6), 'plusses', 0.24),
    ))

SPLITS = ('train', 'val', 'test')
# Weights of B, G, R in the luminance (ITU-R 601-2).
LUMA = np.float32([.114, .587, .299])


@DATASETS.register_module()
class ShapeScenes(BaseDataset):
    """Synthetic images of one patterned shape on a noisy background.

    There are ten classes, each with an outline and a pattern (rings in a disc,
    checks in a square, ...). Position, rotation, size, period, phase and
    colours are random. Image ``i`` depends on ``seed``, ``split`` and ``i``
    alone, and its class is ``i`` modulo the number of classes. It is drawn
    when it is accessed: nothing is stored.

    An item has ``img`` (H, W, 3; uint8, BGR), ``gt_label`` (int), ``gt_mask``
    (H, W; uint8, 1 on the object), ``img_shape`` and ``ori_shape``.

    Args:
        num_images: Number of images.
        split: 'train', 'val' or 'test'; they have no image in common.
        img_size: Height and width in pixels, at least 16.
        seed: Seed of all images, at least 0.
        area: Smallest and largest fraction of the image that the object
            covers, in (0, 1).
        pipeline: Transforms, or a single one.
        classes: Names of the classes to draw, in the order of their labels;
            by default all ten.

    Raises:
        ValueError: If an argument is out of its range.
    """

    METAINFO = dict(
        classes=('disc', 'square', 'ellipse', 'heart', 'star', 'bar', 'cross',
                 'triangle', 'flower', 'hexagon'))

    def __init__(self,
                 num_images: int = 2000,
                 split: str = 'train',
                 img_size: int = 48,
                 seed: int = 0,
                 area: tuple[float, float] = (.3, .45),
                 pipeline: Sequence | dict = (),
                 classes: Sequence[str] | None = None):
        if num_images < 1:
            raise ValueError(f'num_images is {num_images}: choose 1 or more')
        if split not in SPLITS:
            raise ValueError(f'split is {split!r}: choose one of {SPLITS}')
        if img_size < 16:
            raise ValueError(f'img_size is {img_size}: a pattern needs at '
                             'least 16 pixels to be visible')
        if seed < 0:
            raise ValueError(f'seed is {seed}: choose 0 or more')
        if not (len(area) == 2 and 0 < area[0] <= area[1] < 1):
            raise ValueError(f'area is {area}: give the least and the '
                             'largest fraction of the image that the object '
                             'covers, both between 0 and 1')
        known = ShapeScenes.METAINFO['classes']
        if classes is not None and not 0 < len({*classes}
                                               & {*known}) == len(classes):
            raise ValueError(f'classes is {classes}: choose some of {known}, '
                             'each once')
        self.shapes = [known.index(name) for name in classes or known]
        self.num_images = num_images
        self.img_size = img_size
        self.area = area
        self.key = (seed, SPLITS.index(split))
        # Serialising saves no memory here: the items are mere numbers.
        super().__init__(
            metainfo=classes and dict(classes=tuple(classes)),
            serialize_data=False)
        self.pipeline = build_steps(pipeline)

    def load_data_list(self) -> list[dict]:
        """List the labels; the images are drawn at access."""
        labels = range(self.num_images)
        return [dict(gt_label=i % len(self.shapes)) for i in labels]

    def get_data_info(self, idx: int) -> dict:
        """Draw image ``idx``."""
        info = super().get_data_info(idx)
        rng = np.random.default_rng((*self.key, info['sample_idx']))
        shape = self.shapes[info['gt_label']]
        img, mask = draw_scene(rng, shape, self.img_size, self.area)
        shape = img.shape[:2]
        return dict(
            info, img=img, gt_mask=mask, img_shape=shape, ori_shape=shape)


def draw_scene(rng: np.random.Generator, label: int, size: int,
               area: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of class ``label`` and the mask of its object.

    Args:
        rng: Source of all random numbers.
        label: Index in ``CLASSES``.
        size: Height and width in pixels.
        area: Smallest and largest fraction that the object covers.

    Returns:
        The image (size, size, 3; uint8, BGR) and the mask (size, size; uint8,
        0 or 1).
    """
    img = _background(rng, size)
    _draw_distractors(rng, img)
    outline, pattern, scale = CLASSES[label]
    center = size * rng.uniform(.25, .75, 2)
    angle = rng.uniform(-np.pi, np.pi)
    radius = size * np.sqrt(rng.uniform(*area))
    mask = _fill(outline, center, angle, radius, size)
    period = size * scale * rng.uniform(.8, 1.25)
    share = _paint(rng, pattern, center, angle, period, size)[..., None]
    first, second = _two_colors(rng)
    textured = share * first + (1 - share) * second
    textured += rng.normal(0, 12, img.shape)
    alpha = mask[..., None]
    img = img * (1 - alpha) + textured * alpha
    return (img.clip(0, 255).astype(np.uint8), (mask >= .5).astype(np.uint8))


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise at two scales, from one distribution for all images.

    Most of it is grey. Noise in colours alone would vanish in the grayscale
    views of the training and disturb the network in coloured images.
    """
    img = np.full((size, size, 3), 128, np.float32)
    for cell in (4, 2):
        side = size // cell + 2
        noise = 48 * rng.standard_normal((side, side, 3), np.float32)
        gray = (noise @ LUMA)[..., None]
        img += cv2.resize(
            1.1 * gray + .6 * (noise - gray), (size, size),
            interpolation=cv2.INTER_CUBIC)
    return img


def _draw_distractors(rng: np.random.Generator, img: np.ndarray) -> None:
    """Draw small discs and bars of random colours."""
    size = len(img)
    for _ in range(rng.integers(4, 8)):
        x, y, dx, dy = (size * rng.uniform((0, 0, -.12, -.12),
                                           (1, 1, .12, .12))).astype(int)
        color = rng.uniform(0, 255, 3)
        if rng.random() < .5:
            cv2.circle(img, (x, y), max(1, abs(dx) // 2), color, -1)
        else:
            cv2.line(img, (x, y), (x + dx, y + dy), color, 2)


def _fill(outline: np.ndarray, center: np.ndarray, angle: float, radius: float,
          size: int) -> np.ndarray:
    """Compute the coverage (size, size) in [0, 1] of a rotated, scaled
    outline."""
    turn = np.array([[np.cos(angle), np.sin(angle)],
                     [-np.sin(angle), np.cos(angle)]])
    points = np.round(
        (center + radius * outline @ turn) * 256).astype(np.int32)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, shift=8)
    return mask.astype(np.float32) / 255


def _paint(rng: np.random.Generator, pattern: Callable, center: np.ndarray,
           angle: float, period: float, size: int) -> np.ndarray:
    """Compute the fraction (size, size) of the first colour in each pixel.

    Edges are one pixel wide.
    """
    y, x = np.mgrid[:size, :size].astype(np.float32) / np.float32(period)
    x, y = x - center[0] / period, y - center[1] / period
    c, s = np.cos(angle), np.sin(angle)
    x, y = c * x + s * y, c * y - s * x
    dx, dy = rng.uniform(-.5, .5, 2)
    return (.5 + period * pattern(x + dx, y + dy)).clip(0, 1)


def _two_colors(rng: np.random.Generator) -> np.ndarray:
    """Draw a light and a dark colour (2, 3) of any hue, in random order.

    Their luminances are nearly the same in all images: grey views of two
    images cannot be told apart by them.
    """
    colors = rng.uniform(64, 192, (2, 3))
    light = 128 + 52.5 * np.array([1, -1]) * rng.choice([1, -1])
    light += rng.normal(0, 5, 2)
    for _ in range(3):  # clipping changes the luminance again
        colors += (light - colors @ LUMA)[:, None]
        colors = colors.clip(0, 255)
    return colors


@DATASETS.register_module()
class ShapeSegmentation(ShapeScenes):
    """The images of :class:`ShapeScenes` with masks, for mmsegmentation.

    An item has ``img`` (H, W, 3; uint8, BGR) and ``gt_seg_map`` (H, W;
    uint8): 0 for the background, 1 + label on the shape.
    """

    METAINFO = dict(classes=('background', *ShapeScenes.METAINFO['classes']))

    def get_data_info(self, idx: int) -> dict:
        """Draw image ``idx``."""
        info = super().get_data_info(idx)
        seg_map = info.pop('gt_mask') * (info.pop('gt_label') + 1)
        return dict(
            info,
            gt_seg_map=seg_map.astype('uint8'),
            seg_fields=['gt_seg_map'],
            reduce_zero_label=False)
