import pytest
from PIL import Image

from mmdino.pictures.ablations import draw_ablation


def test_bars_are_means_and_dots_seeds(tmp_path):
    scores = dict(momentum=[(30., 40.), (34., 42.)], copy=[(10., 12.)])
    figure = draw_ablation(scores, 'teacher', tmp_path / 'out.png',
                           'logistic regression')
    axis, = figure.axes
    knn, linear = axis.containers
    assert [bar.get_width() for bar in knn] == [32., 10.]
    assert [bar.get_width() for bar in linear] == [41., 12.]
    assert [tick.get_text()
            for tick in axis.get_yticklabels()] == ['momentum', 'copy']
    dots = [list(map(float, line.get_xdata())) for line in axis.lines]
    assert dots == [[30., 34.], [40., 42.]]
    assert axis.get_title() == 'teacher'
    assert linear.get_label() == 'logistic regression'
    assert Image.open(tmp_path / 'out.png').width > 500


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='no row'):
        draw_ablation({}, 'guard')
