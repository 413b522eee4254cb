import csv

import numpy as np
import pytest
import torch
from PIL import Image

from mmdino.datasets.feature_rows import Features, save_features
from mmdino.pictures.tsne import (class_means, draw_map, embed, map_classes,
                                  write_csv)
from tests.tools.test_train_and_test import in_process


def clusters(num_classes, images=12, classes=None):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes * images) % num_classes
    centers = 10 * torch.randn(num_classes, 16, generator=generator)
    features = centers[labels] + torch.randn(
        len(labels), 16, generator=generator)
    return Features(features, labels, [''] * len(labels), classes)


def test_class_means_by_hand():
    features = torch.tensor([[1., 0.], [3., 4.], [5., 8.]])
    means = class_means(features, torch.tensor([7, 2, 7]))
    assert means.tolist() == [[3., 4.], [3., 4.]]


def test_images_lie_with_their_class():
    found = map_classes(clusters(4))
    assert found.classes.shape == (4, 2) and found.images.shape == (48, 2)
    assert found.names == ['0', '1', '2', '3']
    distance = np.linalg.norm(
        found.images[:, None] - found.classes[None], axis=2)
    assert (distance.argmin(axis=1) == found.labels).mean() > .95
    again = map_classes(clusters(4))
    assert np.array_equal(found.classes, again.classes)


@pytest.mark.parametrize('noise', [0., 1e-8])
def test_features_that_are_all_alike(monkeypatch, noise):
    """t-SNE from principal components ends the process here."""
    said = []
    monkeypatch.setattr('mmdino.pictures.tsne.print_log',
                        lambda text, **_: said.append(text))
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(192, generator=generator)
    noise = noise * torch.randn(8, 192, generator=generator)
    assert np.isfinite(embed(row + noise, seed=0)).all()
    assert len(said) == 1 and '8 features are all alike' in said[0]
    assert np.isfinite(embed(noise + torch.randn(8, 192), seed=0)).all()
    assert len(said) == 1


def test_many_classes_are_drawn_by_name(tmp_path):
    names = [f'class {i}, rare' for i in range(45)]
    found = map_classes(clusters(45, 3, names))
    assert len(found.images) == 0 and found.counts.tolist() == [3] * 45
    figure = draw_map(found, tmp_path / 'map.png')
    assert [t.get_text() for t in figure.axes[0].texts] == names
    assert Image.open(tmp_path / 'map.png').width > 600
    write_csv(found, tmp_path / 'map.csv')
    with open(tmp_path / 'map.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == names
    assert float(rows[3]['x']) == pytest.approx(found.classes[3, 0])
    assert rows[0]['images'] == '3'


@pytest.mark.parametrize('num_classes', [11, 40])
def test_the_legend_is_not_cut(num_classes):
    names = [f'a rather long class name {i}' for i in range(num_classes)]
    figure = draw_map(map_classes(clusters(num_classes, 3, names)))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert min(legend.x0, legend.y0) >= 0
    assert legend.x1 <= figure.bbox.x1 and legend.y1 <= figure.bbox.y1
    axis = figure.axes[0].get_window_extent()
    assert axis.x1 <= legend.x0 and axis.width > 300


def test_labels_with_gaps_and_two_classes(tmp_path):
    data = clusters(2, 3)
    data = data._replace(labels=3 * data.labels + 1, classes=list('abcde'))
    found = map_classes(data)
    assert found.names == ['b', 'e'] and set(found.labels) == {0, 1}
    legend, = draw_map(found).legends
    assert [text.get_text() for text in legend.texts] == ['b', 'e']


def test_tool_and_errors(tmp_path):
    save_features(tmp_path / 'x.npz', clusters(3))
    in_process('visualization/tsne', '--features', tmp_path / 'x.npz', '--out',
               tmp_path / 'out')
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'tsne.csv', 'tsne.png'
    ]
    with pytest.raises(SystemExit):
        in_process('visualization/tsne', '--out', tmp_path)
    with pytest.raises(ValueError, match='no labels'):
        map_classes(clusters(3)._replace(labels=None))
    with pytest.raises(ValueError, match='two classes, got 1'):
        map_classes(clusters(1))
