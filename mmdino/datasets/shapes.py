"""The ten classes of ShapeScenes: their outlines and patterns."""
import cv2
import numpy as np

# Outlines: polygons of area 1 around (0, 0), (N, 2).


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


# Patterns: height over a plane whose unit is the period; the sign chooses the
# colour, the slope is about 1, so that edges can be drawn one pixel wide.


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

# Outline, pattern, mean period of the pattern as a share of the picture.
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
