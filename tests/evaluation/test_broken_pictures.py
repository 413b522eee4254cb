"""Pictures that cannot be read: left out, named, the rest in its place."""
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from PIL import Image

from mmdino.datasets.feature_rows import load_features
from mmdino.evaluation.metrics import KNNAccuracy, SaveFeatures
from mmdino.evaluation.placing import (file_key, gather_objects, gather_rows,
                                       place_samples)
from tests.evaluation.metrics.dealing import gallery_of_rank

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='CenterView', size=8),
    dict(type='mmpretrain.PackInputs')
]


def write_pictures(folder: Path, count: int, broken=()) -> None:
    """Two classes, blue 10 i; the numbers i are in the names."""
    for i in range(count):
        path = folder / 'ab'[i % 2] / f'{i:02}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        img = np.full((12, 12, 3), (50, 100, 10 * i), np.uint8)
        Image.fromarray(img).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:50])


def loader(folder: Path, batch_size: int = 2) -> dict:
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='Images', data_root=str(folder), pipeline=PIPELINE))


def run(work_dir, queries, gallery=None, evaluator=None, **kwargs) -> dict:
    loop = dict(type='TestLoop')
    if gallery is not None:
        loop = dict(type='GalleryTestLoop', gallery_dataloader=loader(gallery))
    cfg = Config(
        dict(
            default_scope='mmdino',
            model=dict(
                type='PixelFeatures',
                data_preprocessor=dict(type='MultiViewDataPreprocessor')),
            test_dataloader=loader(queries, **kwargs),
            test_cfg=loop,
            test_evaluator=evaluator,
            work_dir=str(work_dir),
            experiment_name=f'{work_dir}_{get_rank()}'))
    return Runner.from_cfg(cfg).test()


def levels(features: torch.Tensor) -> list[int]:
    return features[:, 0].round().int().tolist()


def order(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob('*.png'))


@pytest.mark.parametrize('broken', [(), (0, ), (2, 4), (6, ), (1, 3, 5)])
def test_features_stay_beside_their_paths(tmp_path, broken):
    write_pictures(tmp_path / 'x', 7, broken)
    out = str(tmp_path / 'f.npz')
    metrics = run(tmp_path / 'w', tmp_path / 'x', None,
                  dict(type='SaveFeatures', out=out))
    check_file(out, tmp_path / 'x', broken)
    assert metrics['features/images'] == 7 - len(broken)
    assert metrics.get('features/left_out', 0) == len(broken)


def check_file(out: str, folder: Path, broken) -> None:
    data, paths = load_features(out), order(folder)
    assert [int(Path(p).stem) * 10
            for p in data.paths] == levels(data.features)
    kept = [i for i, p in enumerate(paths) if int(Path(p).stem) not in broken]
    assert data.indices.tolist() == kept
    assert data.paths == [paths[i] for i in kept]
    assert data.labels.tolist() == ['/b/' in p for p in data.paths]
    assert data.left_out == [p for p in paths if int(Path(p).stem) in broken]


# In the order of their paths, 0 2 4 6 1 3 5, rank 0 has 0 4 1 5.
ON_RANKS = [(), (4, ), (2, 6, 3), (0, 4, 1, 5)]


def extract_on_a_rank(rank, folder):
    for n, broken in enumerate(ON_RANKS):
        here = folder / str(n)
        metrics = run(here, here / 'x', None,
                      dict(type='SaveFeatures', out=str(here / 'f.npz')))
        assert metrics['features/images'] == 7 - len(broken)
        assert metrics.get('features/left_out', 0) == len(broken)
    knn = run(folder / 'k', here / 'x', here / 'x',
              dict(type='KNNAccuracy', k=(1, )))
    assert knn['knn/k1_top1'] == 100. and knn['knn/left_out'] == 4


def test_broken_pictures_on_one_rank_of_two(tmp_path, two_ranks):
    for n, broken in enumerate(ON_RANKS):
        write_pictures(tmp_path / str(n) / 'x', 7, broken)
    two_ranks(extract_on_a_rank, tmp_path)
    for n, broken in enumerate(ON_RANKS):
        here = tmp_path / str(n)
        check_file(str(here / 'f.npz'), here / 'x', broken)


def test_only_all_broken_is_an_error(tmp_path):
    write_pictures(tmp_path / 'x', 3, (0, 1, 2))
    with pytest.raises(RuntimeError, match='none of the 3 images'):
        run(tmp_path / 'w', tmp_path / 'x', None,
            dict(type='SaveFeatures', out=str(tmp_path / 'f.npz')))


def test_broken_queries_do_not_count(tmp_path):
    """The next picture would be counted twice, here as a hit."""
    write_pictures(tmp_path / 'gallery', 8, (3, ))
    write_pictures(tmp_path / 'queries', 4, (0, 1))
    metrics = run(tmp_path / 'w', tmp_path / 'queries', tmp_path / 'gallery',
                  dict(type='KNNAccuracy', k=(1, )))
    assert metrics['knn/left_out'] == 2
    log = next((tmp_path / 'w').glob('*/*.log')).read_text()
    assert '1 gallery images could not be read and are left out' in log
    assert '2 images of KNNAccuracy could not be read' in log
    assert 'a/00.png, ' in log


def run_knn(tmp_path, queries, gallery, name, **kwargs):
    evaluator = dict(type='KNNAccuracy', k=(1, ), **kwargs)
    metrics = run(tmp_path / name, queries, gallery, evaluator)
    log = next((tmp_path / name).glob('*/*.log')).read_text()
    return metrics['knn/k1_top1'], log


def test_queries_that_are_in_the_gallery(tmp_path):
    """The nearest other picture is of the other class."""
    folder = tmp_path / 'x'
    write_pictures(folder, 8)
    top, log = run_knn(tmp_path, folder, folder, 'itself')
    assert top == 100. and '8 of 8 queries are also in the gallery' in log
    top, log = run_knn(
        tmp_path, folder, folder, 'left_out', leave_out_self=True)
    assert top < 100. and 'also in the gallery' in log
    shutil.copytree(folder, tmp_path / 'copy')
    top, log = run_knn(tmp_path, tmp_path / 'copy', folder, 'copy')
    assert top == 100. and 'also in the gallery' not in log
    (tmp_path / 'link').symlink_to(folder)
    top, log = run_knn(tmp_path, tmp_path / 'link', folder, 'link')
    assert '8 of 8 queries are also in the gallery' in log


def test_files_are_known_again(tmp_path):
    (tmp_path / 'x.png').touch()
    (tmp_path / 'y.png').symlink_to(tmp_path / 'x.png')
    here = file_key(f'{tmp_path}/x.png')
    assert here == file_key(f'{tmp_path}/./x.png')
    assert here == file_key(f'{tmp_path}/y.png') >= 0
    assert here != file_key(f'{tmp_path}/z.png')
    assert file_key('') == file_key(None) == -1
    assert file_key('zip:///a.zip!/x.png') != file_key('zip:///b.zip!/x.png')


def test_leaving_out_needs_files():
    gallery = gallery_of_rank(torch.eye(3), torch.arange(3), 3)
    with pytest.raises(ValueError, match='leave_out_self needs the files'):
        KNNAccuracy(leave_out_self=True).set_gallery(gallery)


def test_numbers_that_are_not_the_data_sets_are_not_trusted():
    """Those of a wrapper's parts, say: then the order counts."""
    placing = place_samples([0, 1, 0, 1], [True] * 4, 4)
    assert placing.own.tolist() == [0, 1, 2, 3]
    placing = place_samples([2, 0, 1], [True, False, True], 3)
    assert placing.own.tolist() == [1, -1, 0] and placing.size == 2
    assert placing.indices.tolist() == [1, 2]
    placing = place_samples([None] * 3, [True] * 3, 2)  # one fills up
    assert placing.own.tolist() == [0, 1, -1]
    assert place_samples([], [], 0).size == 0


def gather_on_a_rank(rank, folder):
    told = [[3, 0, 4], [2, 1, 3]][rank]  # shuffled, one fills up
    placing = place_samples(told, [True, rank == 0, True], 5)
    kept = [n for n, p in zip(told, placing.own.tolist()) if p >= 0]
    own = placing.own[placing.own >= 0]
    rows = gather_rows(torch.tensor(kept), own, placing.size)
    names = gather_objects([*map(str, kept)], own, 'cpu', None)
    assert rows.tolist() == placing.indices.tolist() == [0, 2, 3, 4]
    assert names == (['0', '2', '3', '4'] if rank == 0 else None)


def test_any_order_and_unequal_ranks(tmp_path, two_ranks):
    two_ranks(gather_on_a_rank, tmp_path)


def test_a_metric_with_a_stand_in():
    sample = DataSample(metainfo=dict(sample_idx=0, unreadable='x.jpg'))
    metric = SaveFeatures(out='x.npz')
    metric.process(None, [sample.to_dict()])
    with pytest.raises(ValueError, match='none can be read.*first is x.jpg'):
        metric.evaluate(1)
