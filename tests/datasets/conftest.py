"""Folders and archives of a few small images."""
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

CLASSES = ('ant', 'bee', 'cat')


def write_image(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    img = np.full((10, 12, 3), level, np.uint8)
    path.write_bytes(cv2.imencode('.png', img)[1].tobytes())


@pytest.fixture
def class_folder(tmp_path) -> Path:
    """train/<class>/<0..3>.png, gray of level 10 * class + number."""
    for i, name in enumerate(CLASSES):
        for j in range(4):
            write_image(tmp_path / 'data' / 'train' / name / f'{j}.png',
                        10 * i + j)
    return tmp_path / 'data'


@pytest.fixture
def archive(class_folder) -> Path:
    """The same in a zip archive."""
    path = class_folder.parent / 'images.zip'
    with ZipFile(path, 'w') as file:
        for image in class_folder.rglob('*.png'):
            file.write(image, image.relative_to(class_folder))
    return path


@pytest.fixture
def photo_folder(tmp_path) -> Path:
    """Eight times the same noise."""
    img = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for i in range(8):
        (tmp_path / f'{i}.png').write_bytes(
            cv2.imencode('.png', img)[1].tobytes())
    return tmp_path
