"""Pictures in tar files: what is read, and what stops with which words."""
import copy
import gzip
import os
import pickle
import re
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from mmengine.fileio import get
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdino.datasets import Shards, ShardSampler, shard_index
from mmdino.datasets.shard_index import ShardError
from mmdino.datasets.tar_shards import TarShards, expand_braces
from mmdino.engine.configs import loaders, read_config
from tests.datasets.tar_files import picture, write_shards, write_tar

LOAD = [dict(type='LoadImage')]


def error_of(path):
    """What is said of a set of one shard."""
    with pytest.raises(ShardError) as caught:
        Shards([str(path)])
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    'kind', ['folder', 'pattern', 'list', 'subset', 'pattern in subset'])
def test_all_ways_to_name_them(kind, tmp_path):
    paths = write_shards(tmp_path / 'train')
    root, subset = {
        'folder': (f'{tmp_path}/train', ''),
        'pattern': (f'{tmp_path}/train/s-{{000..002}}.tar', ''),
        'list': ([paths[0], f'{tmp_path}/train/s-{{001,002}}.tar'], ''),
        'subset': (str(tmp_path), 'train'),
        'pattern in subset': (str(tmp_path), 'train/s-{000..002}.tar'),
    }[kind]
    dataset = Shards(root, subset=subset, pipeline=LOAD)
    assert len(dataset) == 12
    assert dataset.get_gt_labels().tolist() == [i % 3 for i in range(12)]
    for i in (0, 5, 11, -1):
        item = dataset[i]
        expected = cv2.imdecode(
            np.frombuffer(picture(i % 12), np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(item['img'], expected)
        assert item['gt_label'] == i % 12 % 3
        assert f'!/{i % 12:04}.png#' in item['img_path']


def test_braces():
    assert expand_braces('s-{008..010}.tar') == [
        's-008.tar', 's-009.tar', 's-010.tar'
    ]
    assert expand_braces('{a,b}-{9..8}') == ['a-9', 'a-8', 'b-9', 'b-8']
    assert expand_braces('{plain}.tar') == ['{plain}.tar']


def test_the_source_reads_what_the_backend_reads(tmp_path):
    source = TarShards(write_shards(tmp_path))
    for i in range(len(source)):
        assert source.read(i) == picture(i) == get(source.path(i))


def test_long_names(tmp_path):
    name = 'd' * 90 + '/' + 'é' * 60
    path = write_tar(tmp_path / 'a.tar', {
        'first.png': picture(0),
        f'{name}.png': picture(1)
    })
    source = TarShards([path])
    assert f'!/{name}.png#' in source.path(1)
    assert get(source.path(1)) == picture(1)


def test_labels_of_json(tmp_path):
    path = write_tar(
        tmp_path / 'a.tar', {
            'a.jpg': b'x',
            'a.json': b'{"label": 3, "caption": "cat"}',
            'b.json': b'{"cls": 1}',
            'b.jpg': b'x',
            'c.json': b'{"label": 5}',
            'c.cls': b'007\n',
            'c.jpg': b'x',
        })
    assert Shards(path).get_gt_labels().tolist() == [3, 1, 7]


@pytest.mark.parametrize('data,why', [
    ({}, 'no .cls and no .json'),
    ({
        'b.cls': b'cat'
    }, 'its .cls file: .*cat'),
    ({
        'b.cls': b'-1'
    }, '-1 is not an integer'),
    ({
        'b.json': b'{"label": true}'
    }, 'True is not an integer'),
    ({
        'b.json': b'{"caption": 3}'
    }, 'None is not an integer'),
    ({
        'b.json': b'[3]'
    }, 'None is not an integer'),
    ({
        'b.json': b'{'
    }, 'its .json file'),
])
def test_a_missing_label(data, why, tmp_path):
    members = {'a.jpg': b'x', 'a.cls': b'1', 'b.jpg': b'x', **data}
    path = write_tar(tmp_path / 'a.tar', members)
    assert 'gt_label' not in Shards(path).get_data_info(0)
    with pytest.raises(ValueError, match=f'1 of the 2 images.*b.jpg.*{why}'):
        Shards(path, with_label=True)
    with pytest.raises(ValueError, match='images_per_class needs labels'):
        Shards(path, images_per_class=1)


def test_classes(tmp_path):
    write_shards(tmp_path)
    (tmp_path / 'classes.txt').write_text('cat\ndog\ncow\n')
    assert Shards(str(tmp_path)).CLASSES == ('cat', 'dog', 'cow')
    with pytest.raises(
            ValueError,
            match='label 2, but the 2 classes have the labels 0 to 1'):
        Shards(str(tmp_path), classes=['cat', 'dog'])
    assert len(Shards(str(tmp_path), classes=['cat'], with_label=False)) == 12


def test_parts(tmp_path):
    write_shards(tmp_path)
    dataset = Shards(str(tmp_path), images_per_class=2)
    assert dataset.get_gt_labels().tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.shard_starts.tolist() == [0, 4, 6, 6]
    dataset = Shards(str(tmp_path), indices=-6)
    assert '!/0006.png' in dataset.get_data_info(0)['img_path']
    assert dataset.shard_starts.tolist() == [0, 0, 2, 6]
    dataset = Shards(str(tmp_path)).get_subset([7, 2])
    assert dataset.get_gt_labels().tolist() == [1, 2]
    assert len(dataset.unreadable) == 2
    with pytest.raises(ValueError, match='indices in ascending order'):
        dataset.shard_starts
    dataset.get_subset_(1)
    assert '!/0007.png' in dataset.get_data_info(0)['img_path']


def test_a_broken_picture_is_replaced(tmp_path):
    path = write_tar(tmp_path / 'a.tar', {
        'a.png': picture(0)[:200],
        'b.png': picture(1)
    })
    dataset = Shards(path, pipeline=LOAD)
    assert '!/b.png' in dataset[0]['img_path']
    assert dataset.unreadable.tolist() == [True, False]


def test_what_stops_a_shard(tmp_path):
    path = Path(write_shards(tmp_path, shards=1)[0])
    whole = path.read_bytes()
    for end, words in ((700, 'truncated'), (1536 + 100, 'truncated'),
                       (whole.rfind(b'0003.cls') + 1024,
                        'end mark is missing'), (0, 'is empty'),
                       (300, 'truncated|damaged')):
        path.write_bytes(whole[:end])
        assert re.search(words, error_of(path)), end
    second = whole.find(b'0001.png')
    path.write_bytes(whole[:second] + b'junk' + whole[second + 4:])
    assert f'damaged at byte {second}' in error_of(path)
    path.write_bytes(whole + whole)
    assert 'data after its end mark' in error_of(path)
    path.write_bytes(gzip.compress(whole))
    assert 'is compressed' in error_of(path)
    path.write_bytes(b'not a tar file' * 1000)
    assert 'not a tar file' in error_of(path)


def test_what_stops_its_members(tmp_path):
    path = tmp_path / 'a.tar'
    write_tar(path, {'a.txt': b'x', 'b.cls': b'1', '._c.jpg': b'x'})
    assert "no image; files by extension: {'.txt': 1}" in error_of(path)
    write_tar(path, {'a/1.jpg': b'x', 'a/1.seg.png': b'x'})
    assert "with the key 'a/1': a/1.jpg and a/1.seg.png" in error_of(path)
    chosen = Shards(str(path), extensions=['jpg']).get_data_info(0)
    assert '!/a/1.jpg#' in chosen['img_path']


def test_a_missing_shard(tmp_path):
    paths = write_shards(tmp_path)
    os.remove(paths[1])
    with pytest.raises(
            FileNotFoundError, match=f'1 of the 3 shards.*{paths[1]}'):
        Shards(f'{tmp_path}/s-{{000..002}}.tar')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no .tar file'):
        Shards(str(tmp_path), subset='empty')
    with pytest.raises(ValueError, match='twice'):
        Shards([paths[0], paths[0]])


def test_a_recipe_from_shards(tmp_path):
    """As the base of the data says."""
    comment = Path('configs/_base_/datasets/imagenet_multi_crop.py').read_text(
    ).split('# From shards')[1].split('# type=')[0]
    lines = [x[4:] for x in comment.splitlines() if x.startswith('#   ')]
    own = tmp_path / 'own.py'
    own.write_text("_base_ = 'mmdino::dino_vit-s16.py'\n" + '\n'.join(lines))
    cfg = read_config(str(own), dict(data_root=str(tmp_path)))
    write_shards(tmp_path / 'train')
    write_shards(tmp_path / 'val')
    init_default_scope('mmdino')
    for loader in loaders(cfg):
        loader.update(num_workers=0, batch_size=2)
        loader.pop('persistent_workers', None)
        assert loader.dataset.type == 'Shards'
        built = Runner.build_dataloader(loader, seed=0)
        assert len(built.dataset) == 12
        batch = next(iter(built))
        assert len(batch['inputs']) in (2, 10)
    assert type(Runner.build_dataloader(cfg.train_dataloader,
                                        seed=0).sampler) is ShardSampler


@pytest.fixture
def built(monkeypatch):
    """The shards that are scanned."""
    scanned, scan = [], shard_index.scan_shard
    monkeypatch.setattr(
        shard_index, 'scan_shard',
        lambda path, *args: scanned.append(path) or scan(path, *args))
    return scanned


def index_of(folder):
    return next(folder.glob('mmdino-index-*.bin'))


def test_the_index_is_built_once(built, tmp_path):
    paths = write_shards(tmp_path / 'a')
    Shards(paths)
    assert sorted(built) == paths
    Shards(str(tmp_path / 'a'))
    (tmp_path / 'a').rename(tmp_path / 'b')
    assert len(Shards(str(tmp_path / 'b'))) == 12
    assert len(built) == 3


def spoil(path, what):
    index = index_of(path.parent)
    if what == 'shard':
        write_tar(path, {'new.png': picture(9)})
    elif what == 'time':
        os.utime(path, (1, 1))
    elif what == 'rows':
        data = bytearray(index.read_bytes())
        data[17] ^= 1
        index.write_bytes(data)
    elif what == 'cut':
        os.truncate(index, 16)
    elif what == 'description':
        index.with_suffix('.json').write_text('{"crc"')


@pytest.mark.parametrize('what,words', [('shard', 's-001.tar has changed'),
                                        ('time', 's-001.tar has changed'),
                                        ('rows', 'checksum is wrong'),
                                        ('cut', 'size is wrong'),
                                        ('description', '.json is damaged')])
def test_an_index_that_does_not_fit(what, words, built, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(shard_index, 'print_log',
                        lambda line, **kwargs: lines.append(line))
    paths = write_shards(tmp_path)
    Shards(paths)
    spoil(Path(paths[1]), what)
    dataset = Shards(paths)
    assert len(built) == 6
    assert any(words in line for line in lines)
    assert len(dataset) == (9 if what == 'shard' else 12)
    source = dataset.source
    assert [get(source.path(i))
            for i in range(4)] == [picture(i) for i in range(4)]
    Shards(paths)
    assert len(built) == 6


def test_a_shard_that_changes_later_is_no_other_picture(tmp_path):
    paths = write_shards(tmp_path)
    dataset = Shards(paths, pipeline=LOAD)
    write_tar(paths[0], {'x.png': picture(7, 60), 'y.png': picture(8, 90)})
    with pytest.raises(ShardError, match='s-000.tar has changed'):
        dataset[2]


def test_a_read_only_folder(built, tmp_path, monkeypatch):
    paths = write_shards(tmp_path / 'a')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    real = open

    def read_only(path, mode='r', *args, **kwargs):
        if 'w' in mode and str(path).startswith(str(tmp_path / 'a')):
            raise PermissionError(f'{path} is read-only')
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(shard_index, 'open', read_only, raising=False)
    for _ in range(2):
        assert len(Shards(paths)) == 12
    assert len(built) == 3
    assert index_of(tmp_path / 'cache/mmdino/shards' /
                    os.listdir(tmp_path / 'cache/mmdino/shards')[0])
    with pytest.raises(OSError, match='cache_dir='):
        Shards(paths, cache_dir=str(tmp_path / 'a'))
    assert len(Shards(paths, cache_dir=str(tmp_path / 'mine'))) == 12
    assert index_of(tmp_path / 'mine')


def test_copies_map_the_index(tmp_path):
    dataset = Shards(write_shards(tmp_path))
    assert len(pickle.dumps(dataset.source.index)) < 1000
    for twin in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert isinstance(twin.source.index.rows, np.memmap)
        assert twin.get_data_info(7) == dataset.get_data_info(7)
        assert isinstance(twin.source.labels.base, np.memmap)


def build_on_a_rank(rank, folder):
    Path(folder,
         f'rank{rank}').write_text(Shards(str(folder)).source.index.path)


def fails_on_a_rank(rank, folder):
    with pytest.raises(ShardError, match='s-001.tar is truncated'):
        Shards(str(folder))


def own_index_on_a_rank(rank, folder):
    """As on two machines that do not see each other's folders."""
    with patch('socket.gethostname', lambda: f'host{rank}'), patch.object(
            shard_index, '_has', lambda path, crc: f'cache{rank}' in path):
        dataset = Shards(str(folder), cache_dir=str(folder / f'cache{rank}'))
    assert f'cache{rank}' in dataset.source.index.path


def test_ranks_share_an_index_and_an_error(two_ranks, tmp_path):
    paths = write_shards(tmp_path)
    two_ranks(build_on_a_rank, tmp_path)
    for rank in range(2):
        path = (tmp_path / f'rank{rank}').read_text()
        assert path == str(index_of(tmp_path))
    two_ranks(own_index_on_a_rank, tmp_path)
    for rank in range(2):
        assert index_of(tmp_path / f'cache{rank}')
    os.truncate(paths[1], 700)
    two_ranks(fails_on_a_rank, tmp_path)
