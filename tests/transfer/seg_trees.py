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


def write_voc12(root, size=(64, 96)):
    """Classes 0 to 2 of 21, the border between them void."""
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    for split in ('train', 'val'):
        names = [f'2007_{split}{i}' for i in range(NUM)]
        (lists / f'{split}.txt').write_text('\n'.join(names) + '\n')
        for i, name in enumerate(names):
            colors, classes = scene(i, size)
            edges = np.diff(classes.astype(int), axis=1, prepend=0) != 0
            save(root / f'JPEGImages/{name}.jpg', colors)
            save(root / f'SegmentationClass/{name}.png',
                 np.where(edges, 255, classes).astype(np.uint8))


def write_ade20k(root, size=(64, 96)):
    """Classes 1 to 3 of 150; 0 is void there."""
    for split in ('training', 'validation'):
        for i in range(NUM):
            colors, classes = scene(i, size)
            name = f'ADE_{split[:5]}_{i:08d}'
            save(root / f'images/{split}/{name}.jpg', colors)
            save(root / f'annotations/{split}/{name}.png', classes + 1)


def write_cityscapes(root, size=(64, 128)):
    """Training ids 0 to 2 of 19, a folder a city."""
    for split in ('train', 'val'):
        for i in range(NUM):
            colors, classes = scene(i, size)
            city = f'city{i % 2}'
            name = f'{city}_{i:06d}_000019'
            save(root / f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png',
                 colors)
            save(
                root /
                f'gtFine/{split}/{city}/{name}_gtFine_labelTrainIds.png',
                classes)


WRITERS = dict(
    voc12=('VOCdevkit/VOC2012', write_voc12),
    ade20k=('ade/ADEChallengeData2016', write_ade20k),
    cityscapes=('cityscapes', write_cityscapes))
