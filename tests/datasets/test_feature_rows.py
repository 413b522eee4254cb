import numpy as np
import pytest
import torch

from mmdino.datasets import FeatureRows
from mmdino.datasets.feature_rows import Features, load_features, save_features
from mmdino.evaluation import SaveFeatures
from mmdino.models import SavedFeatures
from tests.ranks import run_ranks

DATA = Features(
    torch.randn(3, 4), torch.tensor([1, 0, 1]), ['a/ü 1.jpg', '', 'b.png'],
    ['cat', 'dog'])


@pytest.mark.parametrize('data', [DATA, Features(DATA[0], None, DATA[2])])
def test_round_trip(tmp_path, data):
    path = tmp_path / 'new' / 'x.npz'
    save_features(path, data)
    assert [p.name for p in path.parent.iterdir()] == ['x.npz']
    loaded = load_features(path)
    assert loaded.features.equal(data.features)
    assert loaded.labels is data.labels or loaded.labels.equal(data.labels)
    assert loaded[2:] == data[2:]


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / 'x.npz'
    with pytest.raises(FileNotFoundError, match='extract_features.py'):
        load_features(path)
    save_features(path, DATA)
    whole = path.read_bytes()
    for content in (b'', b'text', whole[:len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='x.npz is not a feature file'):
            load_features(path)
    np.savez(path, features=np.zeros(2), paths=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        load_features(path)


def test_rows_stand_for_images(tmp_path):
    save_features(tmp_path / 'x.npz', DATA)
    rows = FeatureRows(str(tmp_path / 'x.npz'), indices=[0, 2])
    assert len(rows) == 2 and rows.metainfo['classes'] == ('cat', 'dog')
    item = rows[1]
    assert item['data_samples'].gt_label.item() == 1
    assert item['data_samples'].img_path == 'b.png'
    model = SavedFeatures()
    sample, = model(item['inputs'][None], [item['data_samples']], 'predict')
    assert sample.feature.equal(DATA.features[2])
    assert model(DATA.features).equal(DATA.features)
    with pytest.raises(ValueError, match="mode 'loss'.*only scored"):
        model(DATA.features, mode='loss')


def save_on_rank(rank, folder):
    """Seven images of the data set, dealt in turn and rounded up to eight."""
    metric = SaveFeatures(out=str(folder / 'two.npz'))
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process(None, [
        dict(
            feature=torch.full((2, ), float(i % 7)),
            gt_label=torch.tensor([i % 2]),
            img_path=f'{i % 7}.jpg') for i in range(rank, 8, 2)
    ])
    assert metric.evaluate(7) == {'features/images': 7}


def test_two_ranks_write_one_file_in_order(tmp_path):
    run_ranks(save_on_rank, tmp_path)
    data = load_features(tmp_path / 'two.npz')
    assert data.features[:, 0].tolist() == list(range(7))
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert data.paths == [f'{i}.jpg' for i in range(7)]
    assert data.classes == ['a', 'b']
