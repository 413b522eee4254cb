"""Colours of patches, and the tools that draw them."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdino.apis import FeatureExtractor
from mmdino.datasets.transforms.loading import UnreadableImageError
from mmdino.models import FrozenTeacher
from mmdino.pictures import files as pictures
from mmdino.pictures.dense import (PatchColours, draw_box, draw_matches,
                                   draw_pairs)
from mmdino.pictures.files import count_frames, read_frames, read_images
from mmdino.pictures.inputs import as_colour, network_input
from tests.tiny import save_network
from tests.tools.test_train_and_test import in_process


def scene(box, shape=(12, 16), width=8):
    """Patches of an object that differs from the ground, in two parts."""
    patches = .1 * torch.randn(*shape, width)
    top, left, bottom, right = box
    patches[..., 0] -= 1
    patches[top:bottom, left:right, 0] += 2
    patches[top:bottom, left:(left + right) // 2, 1] += 1
    return patches


BOXES = [(3, 4, 9, 12), (5, 2, 11, 8)]


def test_alike_patches_have_one_colour():
    scenes = [scene(box) for box in BOXES]
    colours = PatchColours(scenes)
    drawn = [colours(s).astype(int) for s in scenes]
    assert drawn[0].shape == (12, 16, 3)
    ground = [d[0, 0] for d in drawn]
    objects = [d[b[0] + 1, b[1] + 1] for d, b in zip(drawn, BOXES)]
    assert np.abs(ground[0] - ground[1]).max() < 100
    assert np.abs(objects[0] - objects[1]).max() < 100
    assert np.abs(objects[0] - ground[0]).max() > 150


@pytest.mark.parametrize('sign', [1, -1])
def test_the_ground_is_black(sign):
    """Whichever way the first component points."""
    scenes = [sign * scene(box) for box in BOXES]
    colours = PatchColours(scenes, foreground=True)
    for patches, (top, left, bottom, right) in zip(scenes, BOXES):
        drawn = colours(patches).any(axis=-1)
        expected = np.zeros((12, 16), bool)
        expected[top:bottom, left:right] = True
        assert (drawn & ~expected).sum() == 0
        assert (drawn & expected).sum() > .9 * expected.sum()


def test_a_box_is_drawn_at_its_place():
    image = np.zeros((40, 60, 3), np.uint8)
    drawn = draw_box(image, (.25, .5, .75, 1))
    rows, columns = np.nonzero(drawn.any(axis=-1))
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (10, 30,
                                                                      29, 59)
    assert not image.any()


def test_figures(tmp_path):
    images = [np.zeros((20 + i, 30, 3), np.uint8) for i in range(10)]
    draw_pairs(images, images, tmp_path / 'pairs.png')
    draw_matches(images[0], images[9], np.array([[1, 2, 3, 4.]]),
                 tmp_path / 'matches.png')
    assert Image.open(tmp_path / 'pairs.png').size[0] > 500
    assert Image.open(tmp_path / 'matches.png').size[0] > 500


@pytest.fixture
def files(tmp_path):
    """A checkpoint, images of two sizes, one that is broken, a video."""
    save_network(tmp_path / 'vit.pth')
    (tmp_path / 'images').mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (('a', (40, 64, 3)), ('b', (50, 33, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(
            tmp_path / f'images/{name}.png')
    writer = cv2.VideoWriter(
        str(tmp_path / 'v.avi'), cv2.CAP_OPENCV_MJPEG,
        cv2.VideoWriter_fourcc(*'MJPG'), 7, (48, 32))
    for _ in range(5):
        writer.write(rng.integers(0, 256, (32, 48, 3), np.uint8))
    writer.release()
    return tmp_path


def draw(tool, files, *options):
    in_process(f'visualization/{tool}', *options, '--checkpoint',
               files / 'vit.pth', '--out', files / 'out')


@pytest.mark.parametrize('options', [(), ('--foreground', ), ('--size', '32')])
def test_pca(options, files, capsys):
    draw('pca', files, files / 'images', *options)
    assert Image.open(files / 'out/a.png').size == (64, 40)
    assert Image.open(files / 'out/b.png').size == (33, 50)
    assert 'overview.png and 2 images' in capsys.readouterr().out


@pytest.mark.parametrize('tool', ['attention', 'pca', 'discover', 'explore'])
def test_a_broken_picture_is_left_out(tool, files, capsys, monkeypatch):
    told = []
    monkeypatch.setattr(pictures, 'print_log',
                        lambda text, **_: told.append(text))
    broken = files / 'images/aa.png'
    broken.write_bytes((files / 'images/a.png').read_bytes()[:100])
    draw(tool, files, files / 'images')
    assert re.search('2 (folders|images|pictures)', capsys.readouterr().out)
    assert told[0].startswith('1 of 3 images cannot be read and are left out')
    assert 'aa.png' in told[0]
    with pytest.raises(UnreadableImageError, match='aa.png'):
        draw(tool, files, broken)


@pytest.mark.parametrize('tool', ['attention', 'pca', 'discover', 'explore'])
@pytest.mark.parametrize('channels', [1, 5])
def test_a_network_of_other_channels(tool, channels, files, capsys):
    """It reads images of its channels; grey ones are drawn in colour."""
    save_network(files / 'vit.pth', channels)
    if channels == 1:
        draw(tool, files, files / 'images')
        assert re.search(r'\b2 (folders|images|pictures)',
                         capsys.readouterr().out)
    elif tool != 'pca':
        pixels = np.zeros((40, 40, channels), np.uint8)
        np.save(files / 'x.npy', pixels)
        with pytest.raises(ValueError, match='5 channels cannot be drawn'):
            draw(tool, files, files / 'x.npy')


@pytest.mark.parametrize('tool', ['attention', 'discover'])
@pytest.mark.parametrize('options, wanted', [((), 32), (('--size', 16), 16)])
def test_size_is_by_default_that_of_the_training(tool, options, wanted, files,
                                                 monkeypatch):
    shapes = []
    method = 'class_attention' if tool == 'attention' else 'patches'
    whole = getattr(FrozenTeacher, method)
    monkeypatch.setattr(
        FrozenTeacher, method, lambda model, images, *args:
        (shapes.append(images.shape), whole(model, images, *args))[1])
    draw(tool, files, files / 'images', *options)
    assert [min(shape[2:]) for shape in shapes] == [wanted] * 2


def test_pixels_that_a_grey_network_gets(files):
    """Those that its features are computed from, and grey of a video."""
    model = save_network(files / 'vit.pth', 1)
    path = str(files / 'images/a.png')
    (_, image), = read_images([path], color_type=model.color_type)
    assert image.shape == (40, 64, 1)
    inputs = network_input(model, image, 32)
    extract = FeatureExtractor(model, what='patches', size=32)
    torch.testing.assert_close(
        model.patches(inputs)[0].float(),
        extract(path)[0])
    assert np.array_equal(as_colour(image)[..., 2:], image)
    draw('attention', files, files / 'v.avi')
    assert count_frames(files / 'out/v_attention.mp4') == 5


def test_pca_of_a_video(files, capsys):
    draw('pca', files, files / 'v.avi')
    assert count_frames(files / 'out/v_pca.mp4') == 5
    assert len(read_frames(files / 'v.avi', 3)) == 3


@pytest.mark.parametrize('options', [(), ('--bins', ), ('--pairs', '3')])
def test_match(options, files, capsys):
    images = files / 'images'
    draw('match', files, images / 'a.png', images / 'b.png', *options)
    assert (files / 'out/a_b.png').exists()
    assert ' pairs, cosine ' in capsys.readouterr().out


def test_an_image_matches_itself(files, capsys):
    image = files / 'images/a.png'
    draw('match', files, image, image, '--pairs', '40')
    assert '24 of 24 pairs, cosine 1.00 to 1.00' in capsys.readouterr().out


@pytest.mark.parametrize('broken', ['a', 'b'])
def test_match_needs_two_readable_images(broken, files):
    path = files / f'images/{broken}.png'
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableImageError, match=f'{broken}.png'):
        draw('match', files, files / 'images/a.png', files / 'images/b.png')


@pytest.mark.parametrize('name, cause',
                         [('', 'is a folder: name an image in it'),
                          ('none.png', 'none.png is not there')])
def test_match_needs_two_files(name, cause, files, capsys):
    for paths in (('a.png', name), (name, 'a.png')):
        with pytest.raises(SystemExit):
            draw('match', files, *(files / 'images' / p for p in paths))
        assert cause in capsys.readouterr().err


def test_discover(files):
    draw('discover', files, files / 'images')
    first, second = json.loads((files / 'out/boxes.json').read_text())
    assert first['image'].endswith('a.png')
    assert 0 <= first['top'] < first['bottom'] <= 40
    assert 0 <= second['left'] < second['right'] <= 33


def test_what_is_not_there(files):
    for tool in ('pca', 'discover'):
        with pytest.raises(FileNotFoundError, match='no file or folder'):
            draw(tool, files, files / 'none')
