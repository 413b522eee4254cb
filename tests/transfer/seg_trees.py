"""Small segmentation data sets in their genuine layouts."""
import numpy as np
from PIL import Image

NUM = 4  # images of a split


def scene(seed, size=(64, 96)):
    """Colours (H, W, 3) and classes 0 to 2 (H, W) of three upright bands."""
    rng = np.random.default_rng(seed)
    edges = sorted(rng.integers(10, size[1] - 10, 2))
    classes = np.zeros(size, np.uint8)
    classes[:, edges[0]:edges[1]] = 1
    classes[:, edges[1]:] = 2
    colors = np.uint8([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
    noise = rng.integers(0, 40, (*size, 3), np.uint8)
    return colors[classes] + noise, classes


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_ade20k(root):
    """Classes 1 to 3 of 150; 0 is void there."""
    for split in ('training', 'validation'):
        for i in range(NUM):
            colors, classes = scene(i)
            name = f'ADE_{split[:5]}_{i:08d}'
            save(root / f'images/{split}/{name}.jpg', colors)
            save(root / f'annotations/{split}/{name}.png', classes + 1)


def write_own(root):
    """Classes 0 to 2, the same scenes in both splits; the border is void."""
    for split in ('train', 'val'):
        for i in range(NUM):
            colors, classes = scene(i)
            edges = np.diff(classes.astype(int), axis=1, prepend=0) != 0
            save(root / f'images/{split}/{i}.jpg', colors)
            save(root / f'masks/{split}/{i}.png',
                 np.where(edges, 255, classes).astype(np.uint8))
