import os

import numpy as np
import pytest
from PIL import Image

from mmdino.datasets import Images
from mmdino.datasets.shrinking import shrink_folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos of 300 x 200 px in two folders."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    rng = np.random.default_rng(0)
    root = tmp_path / 'photos'
    for i in range(6):
        place = root / 'ab'[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        shades = rng.integers(0, 256, (4, 6, 3), np.uint8)
        image = Image.fromarray(shades).resize((300, 200), Image.BICUBIC)
        image.save(place / f'{i}.jpg', quality=95)
    return root


def test_large_photos_are_shrunk_once(photos):
    small = shrink_folder(photos, 50)
    before, after = Images(str(photos)), Images(str(small))
    assert after.metainfo == before.metainfo and len(after) == len(before)
    times = set()
    for i in range(len(before)):
        old, new = before.get_data_info(i), after.get_data_info(i)
        assert new['gt_label'] == old['gt_label']
        with Image.open(old['img_path']) as a, Image.open(
                new['img_path']) as b:
            assert b.size == (75, 50)
            pixels = [
                np.asarray(image.resize((6, 4), Image.BOX), float)
                for image in (a, b)
            ]
        assert abs(pixels[0] - pixels[1]).mean() < 3
        times.add((small / new['img_path']).stat().st_mtime_ns)
    assert shrink_folder(photos, 50) == small
    assert {p.stat().st_mtime_ns for p in small.rglob('*.jpg')} == times


def test_new_photos_come_and_old_ones_go(photos):
    small = shrink_folder(photos, 50)
    (photos / 'a' / '0.jpg').rename(photos / 'a' / 'other.jpg')
    assert shrink_folder(photos, 50) == small
    names = sorted(p.name for p in (small / 'a').iterdir())
    assert names == ['2.jpg.jpg', '4.jpg.jpg', 'other.jpg.jpg']


def test_an_older_photo_replaces_a_newer_one(photos):
    small, place = shrink_folder(photos, 50), photos / 'a' / '0.jpg'
    Image.new('RGB', (300, 200), (20, 20, 20)).save(place)
    os.utime(place, (1e9, 1e9))
    assert shrink_folder(photos, 50) == small
    with Image.open(small / 'a/0.jpg.jpg') as image:
        assert image.getpixel((30, 20)) == (20, 20, 20)
    time = (small / 'a/0.jpg.jpg').stat().st_ctime_ns
    shrink_folder(photos, 50)
    assert (small / 'a/0.jpg.jpg').stat().st_ctime_ns == time


def test_photos_are_turned_as_they_are_tagged(photos):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    with Image.open(photos / 'a' / '0.jpg') as image:
        image.save(photos / 'a' / '0.jpg', exif=exif)
    with Image.open(shrink_folder(photos, 50) / 'a/0.jpg.jpg') as image:
        assert image.size == (50, 75)
        assert 0x0112 not in image.getexif()


def test_small_photos_stay_where_they_are(photos):
    assert shrink_folder(photos, 101) == photos


@pytest.mark.parametrize('kind', ['broken', 'deep', 'transparent'])
def test_what_is_no_photo_is_linked(photos, kind):
    path = photos / 'a' / '9.png'
    if kind == 'broken':
        path.write_bytes(b'no picture')
    elif kind == 'deep':
        Image.fromarray(np.ones((200, 300), np.uint16)).save(path)
    else:
        Image.new('RGBA', (300, 200)).save(path)
    link = shrink_folder(photos, 50) / 'a' / '9.png.jpg'
    assert link.read_bytes() == path.read_bytes()
