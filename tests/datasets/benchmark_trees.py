"""Tiny data sets in the genuine layouts of retrieval and copy detection."""
import pickle

import numpy as np
from PIL import Image


def scene(seed, size=(40, 48)):
    """A smooth random picture (H, W, 3) of its own colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (3, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], 3))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)


def make_revisited(root, name='roxford5k', protocol=4):
    """Three queries, each with an easy and a hard duplicate, and junk."""
    folder = root / name
    database = [f'place_{i:06d}' for i in range(12)]
    queries = [f'query_{i:06d}' for i in range(3)]
    entries = []
    for i, query in enumerate(queries):
        picture = scene(i)
        for place in (i, i + 3, i + 6):
            save(folder / 'jpg' / f'{database[place]}.jpg', picture)
        save(folder / 'jpg' / f'{query}.jpg', picture)
        entries.append(
            dict(
                bbx=[4.0, 3.0, 40.5, 30.25],
                easy=np.array([i]),
                hard=[i + 3],
                junk=np.array([i + 6], dtype=np.int32)))
    entries[2]['hard'] = []
    for place in (9, 10, 11):
        save(folder / 'jpg' / f'{database[place]}.jpg', scene(place))
    ground_truth = dict(imlist=database, qimlist=queries, gnd=entries)
    with open(folder / f'gnd_{name}.pkl', 'wb') as file:
        pickle.dump(ground_truth, file, protocol=protocol)
    return folder


def make_copydays(root, blocks=6, others=8):
    """Originals, one or two copies of each, distractors, whitening images."""
    folder = root / 'copydays'
    for i in range(blocks):
        picture = scene(i)
        save(folder / 'original' / f'{200000 + 100 * i}.jpg', picture)
        for copy in range(1, 2 + i % 2):
            save(folder / 'strong' / f'{200000 + 100 * i + copy}.jpg', picture)
    for i in range(others):
        save(root / 'copydays_distractors' / f'{i}.jpg', scene(100 + i))
        save(root / 'copydays_whitening' / f'{i}.png', scene(200 + i))
    return folder
