"""Writing shards of a folder."""
import os
from collections import Counter
from pathlib import Path

import pytest
from mmengine.fileio import get

from mmdino.datasets import Images, Shards, shard_writer
from tests.datasets.tar_files import picture
from tests.tools.test_train_and_test import in_process


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        path = tmp_path / f'src/train/{"cat dog"[4 * (i % 2):][:3]}/p.{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / 'src'


def make(*args):
    in_process('make_shards', *args)


def contents(dataset):
    """Files by label."""
    return Counter((get(item['img_path']), item.get('gt_label'))
                   for item in map(dataset.get_data_info, range(len(dataset))))


def test_what_is_written_is_what_was_read(folder, tmp_path, capsys):
    make(folder, tmp_path / 'out', '--subset', 'train', '--shard-mb', .03)
    images = Images(str(folder), subset='train')
    shards = Shards(str(tmp_path / 'out'), subset='train')
    assert contents(shards) == contents(images)
    assert shards.CLASSES == images.CLASSES == ('cat', 'dog')
    assert len(shards.shards) > 2
    assert 'mixed' and len(set(shards.get_gt_labels()[:6])) == 2
    out = capsys.readouterr().out
    assert f'12 images in {len(shards.shards)} shards' in out
    assert all(Path(s).stat().st_size < 60_000 for s in shards.shards)
    name = shards.get_data_info(0)['img_path'].split('!/')[1]
    number, stem = name.split('.')[0].split('-')
    assert stem.replace('_',
                        '.') in images.get_data_info(int(number))['img_path']


def test_options(folder, tmp_path):
    make(folder / 'train', tmp_path / 'a', '--keep-order', '--no-labels')
    shards = Shards(str(tmp_path / 'a'))
    assert 'gt_label' not in shards.get_data_info(0)
    images = Images(str(folder / 'train'))
    for i in range(12):
        assert get(shards.get_data_info(i)['img_path']) == get(
            images.get_data_info(i)['img_path'])


@pytest.mark.parametrize('stop', [1, 5, 11])
def test_it_goes_on_where_it_was_stopped(stop, folder, tmp_path, monkeypatch):
    args = folder, tmp_path / 'out', '--shard-mb', .02
    make(folder, tmp_path / 'whole', '--shard-mb', .02)
    add, count = shard_writer._add_sample, iter(range(100))

    def interrupt(*sample):
        if next(count) == stop:
            raise KeyboardInterrupt
        add(*sample)

    monkeypatch.setattr(shard_writer, '_add_sample', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(*args)
    written = list((tmp_path / 'out').glob('*.tar'))
    make(*args)
    assert 12 <= next(count) <= 12 + stop + 1
    assert len(written) < stop + 1
    for path in (tmp_path / 'whole').glob('*.tar'):
        assert path.read_bytes() == (tmp_path / 'out' / path.name).read_bytes()
    assert not list((tmp_path / 'out').glob('*.part'))
    make(*args)  # nothing to do


def test_other_shards_are_not_mixed_in(folder, tmp_path):
    make(folder, tmp_path / 'out', '--shard-mb', .02)
    with pytest.raises(ValueError, match='seed was 0 and is 1'):
        make(folder, tmp_path / 'out', '--shard-mb', .02, '--seed', 1)
    os.remove(next((tmp_path / 'out').glob('*.tar')))
    with pytest.raises(ValueError, match='its shards.json lists'):
        make(folder, tmp_path / 'out', '--shard-mb', .02)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/x.tar').write_bytes(b'')
    with pytest.raises(ValueError, match="the shards .'x.tar'"):
        make(folder, tmp_path / 'other')
    with pytest.raises(ValueError, match='must be 1 or more, got 0'):
        make(folder, tmp_path / 'new', '--shard-mb', 0)
