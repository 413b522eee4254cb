"""Small trees of the benchmarks of fine-tuning, in their genuine formats."""
import hashlib
import json
import pickle

import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100
from PIL import Image
from scipy.io import savemat

NUM = 6  # images of a split


def save_image(path, seed=0, size=(40, 36)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)


def write_cifar(root, patch, cls=CIFAR10, labels='labels'):
    """Pickled batches; the class is told the digests of these."""
    folder = root / cls.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    for attribute in ('train_list', 'test_list'):
        entries = []
        for name, _ in getattr(cls, attribute):
            data = rng.integers(0, 100, (NUM, 3072), np.uint8)
            data[:, :1024] += 150  # the red plane comes first
            content = {'data': data, labels: list(range(NUM))}
            entries.append([name, write(name, content)])
        patch.setattr(cls, attribute, entries)
    names = {cls.meta['key']: [f'class {i}' for i in range(NUM)]}
    digest = write(cls.meta['filename'], names)
    patch.setattr(cls, 'meta', dict(cls.meta, md5=digest))


def write_cifar100(root, patch):
    write_cifar(root, patch, CIFAR100, 'fine_labels')


def write_flowers(root, patch):
    for i in range(1, 3 * NUM + 1):
        save_image(root / f'jpg/image_{i:05d}.jpg', i)
    labels = np.arange(3 * NUM) % 102 + 1
    savemat(root / 'imagelabels.mat', dict(labels=labels[None]))
    ids = np.arange(1, 3 * NUM + 1).reshape(3, 1, NUM)
    savemat(root / 'setid.mat', dict(trnid=ids[0], valid=ids[1], tstid=ids[2]))


def write_cars(root, patch):
    (root / 'devkit').mkdir(parents=True)
    for split, name in (('train', 'cars_train_annos.mat'),
                        ('test', 'cars_test_annos_withlabels.mat')):
        rows = []
        for i in range(1, NUM + 1):
            save_image(root / f'cars_{split}/{i:05d}.jpg', i)
            rows.append((1., 2., 30., 31., np.uint8(i), f'{i:05d}.jpg'))
        kinds = [(key, 'O') for key in ('bbox_x1', 'bbox_y1', 'bbox_x2',
                                        'bbox_y2', 'class', 'fname')]
        savemat(root / 'devkit' / name,
                dict(annotations=np.array(rows, kinds)))


def write_inat(root, patch, year=2018):
    for split in ('train', 'val'):
        content = dict(images=[], annotations=[], categories=[])
        for i in range(NUM):
            name = f'train_val{year}/Plantae/{i % 3}/{split}{i}.jpg'
            save_image(root / name, i)
            content['images'].append(dict(id=100 + i, file_name=name))
            content['annotations'].append(
                dict(id=i, image_id=100 + i, category_id=7 * (i % 3)))
        content['categories'] = [
            dict(id=7 * c, name=f'species {c}') for c in (2, 0, 1)
        ]
        (root / f'{split}{year}.json').write_text(json.dumps(content))


def write_inat19(root, patch):
    write_inat(root, patch, 2019)


def write_imagenet(root, patch):
    for split in ('train', 'val'):
        for i in range(NUM):
            save_image(root / split / f'n{i % 2}' / f'{i}.JPEG', i)


WRITERS = {
    'cifar10': ('cifar10', write_cifar),
    'cifar100': ('cifar100', write_cifar100),
    'flowers102': ('flowers102', write_flowers),
    'cars': ('stanford_cars', write_cars),
    'inat18': ('inaturalist2018', write_inat),
    'inat19': ('inaturalist2019', write_inat19),
    'imagenet': ('imagenet', write_imagenet)
}
