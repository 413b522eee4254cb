import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

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
