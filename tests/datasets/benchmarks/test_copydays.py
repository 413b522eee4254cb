import os
import shutil

import pytest

from mmdino.datasets import Copydays
from mmdino.datasets.benchmarks.copydays import DISTRACTOR, WHITENING
from tests.datasets.benchmark_trees import make_copydays


def test_genuine_layout(tmp_path):
    folder = make_copydays(tmp_path, blocks=3, others=2)
    copies = Copydays(str(folder), 'strong')
    assert [(os.path.basename(i['img_path']), i['gt_label'])
            for i in copies] == [('200001.jpg', 2000), ('200101.jpg', 2001),
                                 ('200102.jpg', 2001), ('200201.jpg', 2002)]
    database = Copydays(str(folder) + os.sep, 'database')
    assert [i['gt_label'] for i in database
            ] == [2000, 2001, 2002] + [DISTRACTOR] * 2 + [WHITENING] * 2
    assert database[6]['img_path'] == str(tmp_path /
                                          'copydays_whitening/1.png')


def test_optional_folders(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmdino.datasets.benchmarks.copydays.print_log',
                        lambda line, **kwargs: lines.append(line))
    folder = make_copydays(tmp_path, blocks=3)
    assert len(Copydays(str(folder), 'database')) == 19 and not lines
    shutil.rmtree(tmp_path / 'copydays_distractors')
    shutil.rmtree(tmp_path / 'copydays_whitening')
    assert len(Copydays(str(folder), 'database')) == 3
    assert 'without distractors' in lines[0]
    assert 'without whitening' in lines[1]


def test_errors(tmp_path):
    folder = make_copydays(tmp_path)
    with pytest.raises(ValueError, match="got 'jpeg'"):
        Copydays(str(folder), 'jpeg')
    (folder / 'strong/200001.jpg').rename(folder / 'strong/copy.jpg')
    with pytest.raises(ValueError, match='strong/copy.jpg is not named as'):
        Copydays(str(folder), 'strong')
    shutil.rmtree(folder / 'strong')
    with pytest.raises(FileNotFoundError, match='no folder .*copydays/strong'):
        Copydays(str(folder), 'strong')
    (folder / 'strong').mkdir()
    with pytest.raises(ValueError, match='no image in .*copydays/strong'):
        Copydays(str(folder), 'strong')
