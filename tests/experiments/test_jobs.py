"""What a result depends on, folders of jobs, and children on the screen."""
import os
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.experiments import jobs
from mmdino.experiments.jobs import Attempt, Job, Screen, attempt, cause
from mmdino.experiments.settings import (MissingData, describe, differences,
                                         forget_listings, hash_file, list_data,
                                         split_options)
from mmdino.registry import DATASETS


def images(folder, count=3, size=8, color=0):
    for label in 'ab':
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.full((size, size, 3), color, np.uint8)
            Image.fromarray(pixels).save(folder / label / f'{i}.bmp')
    return folder


@pytest.fixture
def cfg(tmp_path):
    torch.save(dict(a=torch.ones(3)), tmp_path / 'w.pth')
    loader = dict(
        num_workers=2,
        batch_size=4,
        dataset=dict(type='Images', data_root=str(images(tmp_path / 'data'))))
    return Config(
        dict(
            model=dict(type='FrozenTeacher', checkpoint=f'{tmp_path}/w.pth'),
            test_dataloader=loader,
            work_dir='a'))


def changed(cfg, before):
    forget_listings()
    return differences(before, describe(cfg))


def test_what_does_not_count(cfg, tmp_path):
    before = describe(cfg)
    cfg.work_dir = 'b'
    cfg.test_dataloader.num_workers = 0
    os.utime(tmp_path / 'w.pth', (1, 1))
    (tmp_path / 'w.pth').rename(tmp_path / 'moved.pth')
    cfg.model.checkpoint = f'{tmp_path}/moved.pth'
    assert changed(cfg, before) == ''


def test_options_weights_and_data_count(cfg, tmp_path):
    before = describe(cfg)
    images(tmp_path / 'data', size=9)  # the same names
    assert changed(cfg,
                   before).startswith("data test_dataloader: was '6 items, ")
    images(tmp_path / 'data', color=1)  # and sizes
    assert changed(cfg,
                   before).startswith("data test_dataloader: was '6 items, ")
    images(tmp_path / 'data')
    assert changed(cfg, before) == ''
    images(tmp_path / 'data', 4)
    assert "'8 items" in changed(cfg, before)

    before = describe(cfg)
    torch.save(dict(a=torch.zeros(3)), tmp_path / 'w.pth')  # the same size
    os.utime(tmp_path / 'w.pth', (1, 1))
    assert changed(cfg, before).startswith('weights model.checkpoint: ')

    before = describe(cfg)
    cfg.test_dataloader.batch_size = 5
    assert changed(cfg,
                   before) == 'config test_dataloader.batch_size: was 4, now 5'
    cfg.test_dataloader.dataset.with_label = False
    assert "with_label: was 'nothing', now False" in changed(cfg, before)


def test_archives_count_by_size_and_time(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        for label in 'ab':
            archive.writestr(f'{label}/0.png', b'x')
    data = dict(type='Images', data_root=str(tmp_path / 'x.zip'))
    before = list_data(data).digest
    forget_listings()
    os.utime(tmp_path / 'x.zip', (1, 1))
    assert list_data(data).digest != before
    assert list_data(data).classes == ('a', 'b')


def test_large_files_are_read_once(tmp_path, monkeypatch):
    path = tmp_path / 'w.pth'
    path.write_bytes(b'weights')
    first = hash_file(str(path))
    monkeypatch.setattr('builtins.open', None)
    assert hash_file(str(path)) == first


def test_only_missing_data_are_missing(tmp_path):
    with pytest.raises(MissingData, match='nowhere'):
        list_data(dict(type='Images', data_root='nowhere'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MissingData, match='no image'):
        list_data(dict(type='Images', data_root=str(tmp_path / 'empty')))
    root = str(images(tmp_path / 'data'))
    with pytest.raises(TypeError, match='sub_set'):
        list_data(dict(type='Images', data_root=root, sub_set='a'))
    with pytest.raises(ValueError, match='not among'):
        list_data(dict(type='Images', data_root=root, classes=['c']))


def test_a_data_set_is_listed_once(tmp_path, monkeypatch):
    built = []
    build = DATASETS.build
    monkeypatch.setattr(DATASETS, 'build', lambda *args:
                        (built.append(args), build(*args))[1])
    for size in (8, 16):
        list_data(
            dict(
                type='Images',
                data_root=str(images(tmp_path / 'data')),
                pipeline=[dict(type='CenterCrop', crop_size=size)]))
    assert len(built) == 1


def test_a_job_is_run_once_and_again_if_it_changes(tmp_path, capsys):
    runs = []

    def job(**settings):

        def run(folder):
            runs.append(settings)
            (folder / 'own.txt').write_text(str(settings))
            return dict(values=settings)

        return Job(tmp_path / 'row', settings, run)

    assert job(a=1).state == 'to run'
    assert job(a=1).carry_out()['values'] == dict(a=1)
    assert job(a=1).state == 'finished'
    assert job(a=1).carry_out()['seconds'] >= 0 and len(runs) == 1
    assert job(a=2).state == 'to run again (a: was 1, now 2)'
    job(a=2).carry_out()
    assert 'have changed: a: was 1, now 2' in capsys.readouterr().out
    assert job(a=1).state == 'finished'  # it was set aside
    job(a=1).carry_out()
    assert len(runs) == 2
    assert (tmp_path / 'row/own.txt').read_text() == "{'a': 1}"
    (tmp_path / 'row/result.json').unlink()
    assert job(a=1).state == 'begun, will continue'
    (tmp_path / 'row/job.json').unlink()
    with pytest.raises(ValueError, match="holds .*no job.json"):
        job(a=1).carry_out()


def fail(error):
    raise error


def test_a_bug_is_an_error(capsys):
    assert attempt(lambda: fail(MissingData('no file'))) == Attempt(
        lacking='no file')
    assert attempt(lambda: fail(ValueError('wrong'))).error == 'wrong'
    for bug in (KeyError('a'), TypeError('a'), AttributeError('a')):
        found = attempt(lambda: fail(bug))
        assert found.error.startswith(type(bug).__name__)
        assert found.lacking is None
    assert 'Traceback' in capsys.readouterr().err


def test_warnings_and_progress_are_shown_once(monkeypatch):
    monkeypatch.setattr(Screen, 'seen', set())
    lines = [
        '01/02 03:04:05 - mmengine - INFO - Epoch(train) [1][ 5/10] loss',
        '01/02 03:04:05 - mmengine - INFO - Loads x',
        '01/02 03:04:06 - mmengine - WARNING - Copydays without whitening',
        '  as is said here', '01/02 03:04:06 - mmengine - INFO - more',
        '01/02 03:04:07 - mmengine - WARNING - Copydays without whitening',
        'x.py:3: UserWarning: old', '  warnings.warn(', ''
    ]
    screen = Screen()
    assert [line for line in lines
            if screen.shows(line)] == [lines[i] for i in (0, 2, 3, 6, 7)]


def test_a_tool_that_fails_names_its_error(tmp_path, monkeypatch, capsys):
    (tmp_path / 'bad.py').write_text(
        'import warnings\nwarnings.warn("beware of it")\n'
        'raise KeyError("a")\n')
    monkeypatch.setattr(jobs, 'TOOLS', tmp_path)
    with pytest.raises(jobs.subprocess.CalledProcessError) as error:
        jobs.call_tool('bad', [], tmp_path / 'log')
    assert error.value.output.startswith("KeyError: 'a'; see ")
    assert 'beware of it' in capsys.readouterr().out
    assert cause('[rank1]: ValueError: no\nx.ChildFailedError: \n===') == (
        'ValueError: no')
    assert cause('') == 'it printed nothing'


def test_options_of_rows():
    rows = ['momentum-0.9', 'momentum-0.99', 'run']
    assert split_options(
        {
            'momentum-0.99.a.b': 1,
            'momentum-0.9.a': 2,
            'c.d': 3
        }, rows, ['c']) == {
            'momentum-0.99': {
                'a.b': 1
            },
            'momentum-0.9': {
                'a': 2
            },
            '': {
                'c.d': 3
            }
        }
    for shared in ((), ['c']):
        with pytest.raises(ValueError, match="Did you mean 'run'"):
            split_options({'runn.a': 1}, rows, shared)
