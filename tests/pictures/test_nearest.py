import numpy as np
import pytest
from matplotlib.colors import to_hex
from mmengine.config import Config
from PIL import Image

from mmdino.pictures import nearest
from mmdino.pictures.nearest import QUERY, RIGHT, WRONG, Picture, draw_nearest
from tests.tools.test_features_and_splits import run  # noqa: F401
from tests.tools.test_train_and_test import in_process

IMAGE = np.zeros((6, 9, 3), np.uint8)


def frames(figure):
    return [
        to_hex(axis.spines['left'].get_edgecolor()) for axis in figure.axes
    ]


def test_frames_say_whether_the_classes_agree(tmp_path):
    row = [
        Picture(IMAGE, 'cat'),
        Picture(IMAGE, 'cat', .98765),
        Picture(IMAGE, 'dog', -.5)
    ]
    plain = [Picture(IMAGE), Picture(IMAGE, None, .5), Picture(IMAGE, 'a', .1)]
    figure = draw_nearest([row, plain], tmp_path / 'nearest.png')
    gray = to_hex('gray')
    assert frames(figure) == [QUERY, RIGHT, WRONG, QUERY, gray, gray]
    captions = [axis.get_xlabel() for axis in figure.axes]
    assert captions[:5] == ['cat', 'cat 0.9877', 'dog -0.5000', '', '0.5000']
    assert [axis.get_title()
            for axis in figure.axes[:3]] == ['query', '1', '2']
    assert Image.open(tmp_path / 'nearest.png').width > 300
    with pytest.raises(ValueError, match='no picture'):
        draw_nearest([])


def test_tool(run):  # noqa: F811
    out = run / 'pictures' / 'nearest.png'
    in_process('visualization/nearest', run / 'config.py', run / 'model.pth',
               '--out', out, '--queries', 3, '-k', 2)
    assert Image.open(out).height > 300
    assert (out.parent / 'features' / 'gallery.npz').exists()
    with pytest.raises(SystemExit):
        in_process('visualization/nearest', run / 'config.py',
                   run / 'model.pth', '-k', 0)


@pytest.fixture
def partly_broken(run, tmp_path):  # noqa: F811
    """A config of image files; the gallery has a broken one before others."""
    rng = np.random.default_rng(0)
    for name in ('a/0', 'a/2', 'b/0', 'b/1'):
        image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        for folder in ('queries', 'gallery'):
            path = tmp_path / folder / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    (tmp_path / 'gallery/a/1.png').write_bytes(b'no image')
    cfg = Config.fromfile(run / 'config.py')
    for name, loader in (('queries', cfg.test_dataloader),
                         ('gallery', cfg.test_cfg.gallery_dataloader)):
        loader.dataset = dict(
            type='Images',
            data_root=str(tmp_path / name),
            pipeline=[
                dict(type='LoadImage'),
                dict(type='mmpretrain.PackInputs')
            ])
    cfg.dump(tmp_path / 'config.py')
    return tmp_path


def test_neighbours_behind_an_unreadable_image(
        run,  # noqa: F811
        partly_broken,
        monkeypatch):
    """The nearest image of each query is the query itself."""
    drawn = []
    monkeypatch.setattr(nearest, 'draw_nearest',
                        lambda rows, out: drawn.extend(rows))
    in_process('visualization/nearest', partly_broken / 'config.py',
               run / 'model.pth', '--out', partly_broken / 'n.png', '-k', 1)
    assert len(drawn) == 4
    for query, neighbour in drawn:
        assert neighbour.similarity == pytest.approx(1)
        assert neighbour.label == query.label
        np.testing.assert_array_equal(neighbour.image, query.image)
