"""The page, in a browser: a click lights up what is similar."""
import cv2
import numpy as np
import pytest
import torch

from mmdino.datasets import ShapeScenes
from mmdino.engine.configs import read_config
from mmdino.pictures.explore import Seen, write_page
from tests.browser import Page, needs_chromium
from tests.pictures.test_dense_pictures import files  # noqa: F401
from tests.tools.test_train_and_test import in_process

CLICKED = 1  # picture, in which an object is clicked: a square
GREEN, BLUE, GREY = (20, 160, 60), (40, 60, 200), (128, 128, 128)


def seen(name, objects, grid=(8, 10), pixels=20):
    """A picture of squares; each colour has a direction of its own."""
    torch.manual_seed(len(name))
    image = np.full((grid[0] * pixels, grid[1] * pixels, 3), GREY, np.uint8)
    patches = .03 * torch.randn(*grid, 96)
    patches[..., 0] += 1
    for colour, axis, (top, left, bottom, right) in objects:
        image[top * pixels:bottom * pixels,
              left * pixels:right * pixels] = colour
        patches[top:bottom, left:right, 0] -= 1
        patches[top:bottom, left:right, axis] += 1
    attention = torch.zeros(2, *grid)
    attention[0, 0, 0] = attention[1, -1, -1] = .5
    feature = torch.zeros(8)
    feature[objects[0][1]] = 1  # what it shows first
    return Seen(name, image, patches, feature, attention)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """The green object is in both pictures, at two places."""
    path = tmp_path_factory.mktemp('page') / 'page.html'
    pictures = [
        seen('first', [(GREEN, 1, (2, 2, 5, 5)), (BLUE, 2, (5, 6, 7, 9))]),
        seen('second <b>', [(GREEN, 1, (4, 5, 7, 9))]),
        seen('third', [(BLUE, 2, (1, 1, 4, 4))]),
    ]
    write_page(pictures, path, 'A & B')
    return path


def place(browser, number, row, column):
    """Pixel of the middle of a patch on the page."""
    left, top, width, height = browser.box(
        f'#grid figure:nth-child({number + 1}) canvas')
    inside = (width - 6, height - 6)  # without the border
    return (left + 3 + (column + .5) / 10 * inside[0],
            top + 3 + (row + .5) / 8 * inside[1])


def colour(browser, shot, number, row, column):
    x, y = place(browser, number, row, column)
    return shot[int(y), int(x)].astype(int)


def is_lit(pixel):
    return pixel[0] > 150 and pixel[1] < 110


@needs_chromium
def test_a_click_lights_up_the_same_object(page, tmp_path):
    with Page(page, tmp_path / 'profile') as browser:
        before = browser.screenshot()
        assert np.abs(colour(browser, before, 1, 5, 6) - GREEN).max() < 12
        browser.click(*place(browser, 0, 3, 3))
        after = browser.screenshot()
        for number, row, column in ((0, 2, 2), (0, 4, 4), (1, 4, 5), (1, 6,
                                                                      8)):
            assert is_lit(colour(browser, after, number, row, column))
        for number, row, column in ((0, 0, 0), (0, 6, 7), (1, 1, 1), (2, 2,
                                                                      2)):
            assert not is_lit(colour(browser, after, number, row, column))
        # The nearest picture is the one with the same object.
        assert browser.evaluate(
            "document.querySelector('#near figcaption').textContent").endswith(
                'second <b>')
        assert browser.evaluate('location.hash') == '#0,33'
        # Blue, in another picture, lights up other patches.
        browser.click(*place(browser, 2, 2, 2))
        after = browser.screenshot()
        assert is_lit(colour(browser, after, 0, 6, 7))
        assert not is_lit(colour(browser, after, 1, 5, 6))
        assert all(
            url.startswith(('file://', 'data:')) for url in browser.requests)


@needs_chromium
def test_layers_slider_and_address(page, tmp_path):
    with Page(page, tmp_path / 'profile', fragment='#0,33') as browser:
        shot = browser.screenshot()
        assert is_lit(colour(browser, shot, 1, 5, 6))

        def choose(element, value):
            browser.evaluate(
                f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event("
                f"e.tagName === 'SELECT' ? 'change' : 'input')); }})("
                f"document.getElementById('{element}'))")
            return browser.screenshot()

        dark = colour(browser, shot, 1, 0, 0)
        assert dark.max() < 80
        # Of what is below -0.2 there may be none: nothing is darkened.
        choose('threshold', -20)
        assert is_lit(colour(browser, browser.screenshot(), 1, 5, 6))
        assert is_lit(colour(browser, choose('threshold', 95), 0, 3, 3))
        shot = choose('layer', 'head 0')
        assert colour(browser, shot, 0, 0, 0)[0] > 200
        assert colour(browser, shot, 0, 7, 9).max() < 100
        shot = choose('layer', 'components')
        first, ground = (
            colour(browser, shot, 0, *p) for p in ((3, 3), (0, 5)))
        assert np.abs(first - ground).max() > 80
        other = colour(browser, shot, 1, 5, 7)
        assert np.abs(first - other).max() < 60
        shot = choose('layer', 'none')
        assert np.abs(colour(browser, shot, 1, 5, 6) - GREEN).max() < 12


@needs_chromium
def test_a_trained_network_lights_up_objects(tmp_path):
    """A click on an object, through weights that come with mmdino."""
    trained_on = read_config('quickstart/dino_vit-tiny_shapescenes')
    scenes = ShapeScenes(
        12,
        split='test',
        img_size=192,
        classes=trained_on.train_dataloader.dataset.classes)
    (tmp_path / 'scenes').mkdir()
    masks = []
    for i, scene in enumerate(map(scenes.get_data_info, range(12))):
        cv2.imwrite(f'{tmp_path}/scenes/{i:02}.png', scene['img'])
        # Share of the object in each of 12 x 12 patches.
        masks.append(scene['gt_mask'].reshape(12, 16, 12, 16).mean((1, 3)))
    in_process('visualization/explore', tmp_path / 'scenes', '--checkpoint',
               'dino_shapescenes', '--size', 96, '--out',
               tmp_path / 'page.html')
    with Page(tmp_path / 'page.html', tmp_path / 'profile',
              (1200, 1600)) as browser:
        boxes = [
            browser.box(f'#grid figure:nth-child({i + 1}) canvas')
            for i in range(12)
        ]

        def middle(i, row, column):
            left, top, width, height = boxes[i]
            return (int(left + 3 + (column + .5) / 12 * (width - 6)),
                    int(top + 3 + (row + .5) / 12 * (height - 6)))

        clicked = np.argwhere(masks[CLICKED] > .99)
        before = browser.screenshot().astype(int)
        browser.click(*middle(CLICKED, *clicked[len(clicked) // 2]))
        after = browser.screenshot().astype(int)
    lit = np.zeros((12, 12, 12), bool)
    for i, row, column in np.ndindex(lit.shape):
        x, y = middle(i, row, column)
        # What is not similar is darkened.
        lit[i, row, column] = after[y, x].sum() > .9 * before[y, x].sum()
    masks = np.stack(masks)
    others = np.arange(12) != CLICKED
    objects, ground = (
        np.array([lit[i][where[i]].mean() for i in np.flatnonzero(others)])
        for where in (masks > .9, masks < .1))
    assert (objects > ground).all()
    assert objects.mean() > 4 * ground.mean()


def test_the_title_and_names_are_text(page):
    text = page.read_text()
    assert '<h1>A &amp; B</h1>' in text and '<b>' not in text
    assert 'http' not in text.replace('http-equiv', '')


def test_fifty_pictures_are_below_20_mb(tmp_path):
    """At 448 px, in patches of 14: 1,024 a picture, of noise."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (448, 448, 3), np.uint8)
    picture = Seen('x', image, torch.randn(32, 32, 384), torch.randn(384),
                   torch.rand(6, 32, 32))
    size = write_page([picture] * 4, tmp_path / 'page.html')
    assert 50 / 4 * size < 20e6


def test_no_picture(tmp_path):
    with pytest.raises(ValueError, match='no picture'):
        write_page([], tmp_path / 'page.html')


def test_the_tool(files, capsys):  # noqa: F811
    in_process('visualization/explore', files / 'images', '--checkpoint',
               files / 'vit.pth', '--out', files / 'page.html', '--pictures',
               '1')
    out = capsys.readouterr().out
    assert '1 of 2 images, evenly' in out and 'page.html: 1 image' in out
    assert (files / 'page.html').stat().st_size > 10_000
