import os
import pickle

import numpy as np
import pytest

from mmdino.datasets import RevisitedImages
from mmdino.datasets.benchmarks.plain_pickle import UnsafePickleError
from tests.datasets.benchmark_trees import make_revisited


def change(folder, **changes):
    path = folder / f'gnd_{folder.name}.pkl'
    ground_truth = pickle.loads(path.read_bytes())
    for key, value in changes.items():
        if key in ('imlist', 'qimlist', 'gnd'):
            ground_truth[key] = value
        else:
            ground_truth['gnd'][1][key] = value
    path.write_bytes(pickle.dumps(ground_truth))


@pytest.mark.parametrize('name', ['roxford5k', 'rparis6k'])
def test_genuine_layout(tmp_path, name):
    folder = make_revisited(tmp_path, name, protocol=2)
    database = RevisitedImages(str(folder) + os.sep, 'database')
    assert len(database) == 12
    assert database[5]['img_path'] == str(folder / 'jpg/place_000005.jpg')
    assert 'annotation' not in database[5]
    queries = RevisitedImages(str(folder), subset='queries')
    assert [os.path.basename(q['img_path'])
            for q in queries] == [f'query_00000{i}.jpg' for i in range(3)]
    query = queries[1]
    assert query['bbox'].tolist() == [4, 3, 40.5, 30.25]
    assert {
        k: v.tolist()
        for k, v in query['annotation'].items()
    } == dict(
        easy=[1], hard=[4], junk=[7])
    assert queries[2]['annotation']['hard'].shape == (0, )


def test_missing_files_are_named(tmp_path):
    folder = make_revisited(tmp_path)
    with pytest.raises(ValueError, match="one of.*got 'train'"):
        RevisitedImages(str(folder), 'train')
    for name in ('place_000004', 'place_000007'):
        (folder / 'jpg' / f'{name}.jpg').unlink()
    with pytest.raises(
            FileNotFoundError,
            match='lacks 2 of the 12 images.*first is place_000004.jpg'):
        RevisitedImages(str(folder), 'database')
    (folder / 'jpg').rename(folder / 'images')
    with pytest.raises(FileNotFoundError, match='first is query_000000.jpg'):
        RevisitedImages(str(folder), 'queries')
    (folder / 'gnd_roxford5k.pkl').unlink()
    with pytest.raises(FileNotFoundError, match='no annotation .*gnd_roxf'):
        RevisitedImages(str(folder), 'queries')


@pytest.mark.parametrize('changes,message', [
    (dict(qimlist=['a']), '1 queries and 3 entries'),
    (dict(hard=[12]), r'query 1 \(query_000001\) names image 12 of .* 12'),
    (dict(junk=np.array([-1])), 'names image -1'),
    (dict(bbx=[1, 2, 3]), 'bbx of 3 numbers'),
    (dict(gnd=[dict(easy=[])] * 3), r"query 0 .*lacks \['bbx', 'hard'"),
])
def test_wrong_annotations(tmp_path, changes, message):
    folder = make_revisited(tmp_path)
    change(folder, **changes)
    with pytest.raises(ValueError, match=f'gnd_roxford5k.pkl.*{message}'):
        RevisitedImages(str(folder), 'queries')


def test_other_pickles(tmp_path):
    path = make_revisited(tmp_path) / 'gnd_roxford5k.pkl'
    for data, message in ([
            1
    ], 'a list, not a dict'), (dict(gnd=[]), r"lacks \['imlist', 'qimlist'\]"):
        path.write_bytes(pickle.dumps(data))
        with pytest.raises(ValueError, match=message):
            RevisitedImages(str(path.parent), 'queries')
    path.write_bytes(pickle.dumps(os.system))
    with pytest.raises(UnsafePickleError, match='system'):
        RevisitedImages(str(path.parent), 'queries')
