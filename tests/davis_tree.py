"""A small DAVIS 2017 in the layout of the genuine one."""
import numpy as np
from PIL import Image


def moving_square(frames=6, size=(96, 160), square=48, step=8, seed=0):
    """A textured square that moves to the right over a textured ground.

    It starts on the grid of 8 px patches and moves by whole patches, so that
    a mask at patch resolution can be exact.

    Returns:
        Frames (F, H, W, 3) uint8 and masks (F, H, W) uint8.
    """
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 128, (*size, 3), np.uint8)
    texture = rng.integers(128, 256, (square, square, 3), np.uint8)
    images = np.repeat(ground[None], frames, axis=0)
    masks = np.zeros(images.shape[:3], np.uint8)
    for i in range(frames):
        place = i, slice(24, 24 + square), slice(16 + i * step,
                                                 16 + i * step + square)
        images[place] = texture
        masks[place] = 1
    return images, masks


def write_sequence(root, name, images, masks):
    """Write JPEGs and palette PNGs."""
    for kind, arrays in (('JPEGImages', images), ('Annotations', masks)):
        folder = root / kind / '480p' / name
        folder.mkdir(parents=True)
        for i, array in enumerate(arrays):
            image = Image.fromarray(array)
            if kind == 'JPEGImages':
                image.save(folder / f'{i:05d}.jpg', quality=95)
            else:
                image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
                image.save(folder / f'{i:05d}.png')


def write_tree(root, **videos):
    """Write sequences, each (images, masks), and val.txt."""
    for name, video in videos.items():
        write_sequence(root, name, *video)
    folder = root / 'ImageSets/2017'
    folder.mkdir(parents=True)
    (folder / 'val.txt').write_text('\n'.join(videos) + '\n')
    return root
