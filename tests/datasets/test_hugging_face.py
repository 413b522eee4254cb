"""Pictures of a data set of Hugging Face on disk."""
import pickle
import sys

import cv2
import numpy as np
import pytest
from mmengine.fileio import get

from mmdino.datasets import HuggingFaceImages
from tests.datasets.tar_files import picture

LOAD = [dict(type='LoadImage')]


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(ImportError, match=r"pip install 'mmdino\[hf\]'"):
        HuggingFaceImages(str(tmp_path / 'missing'))


@pytest.fixture
def hf(monkeypatch, tmp_path):
    package = pytest.importorskip('datasets')
    monkeypatch.setattr(package.config, 'HF_DATASETS_CACHE',
                        str(tmp_path / 'hf-cache'))
    return package


def table(hf, labels=(0, 1, 2, 0, 1, 2), **columns):
    """Six pictures."""
    features = dict(image=hf.Image(), **columns)
    data = dict(image=[dict(bytes=picture(i), path=None) for i in range(6)])
    if labels is not None:
        features['label'] = features.get(
            'label', hf.ClassLabel(names=['cat', 'dog', 'cow']))
        data['label'] = list(labels)
    return hf.Dataset.from_dict(data, features=hf.Features(features))


@pytest.mark.parametrize('kind', ['disk', 'dict', 'parquet', 'parquets'])
def test_all_kinds_of_files(kind, hf, tmp_path):
    whole, subset = table(hf), ''
    if kind == 'disk':
        whole.save_to_disk(tmp_path / 'a')
    elif kind == 'dict':
        hf.DatasetDict(train=whole).save_to_disk(tmp_path / 'a')
        with pytest.raises(ValueError, match='DatasetDict.*subset'):
            HuggingFaceImages(str(tmp_path / 'a'))
        subset = 'train'
    else:
        (tmp_path / 'a').mkdir()
        whole.to_parquet(tmp_path / 'a/0.parquet')
        subset = '0.parquet' if kind == 'parquet' else ''
    dataset = HuggingFaceImages(str(tmp_path / 'a'), subset, pipeline=LOAD)
    assert dataset.CLASSES == ('cat', 'dog', 'cow')
    assert dataset.get_gt_labels().tolist() == [0, 1, 2, 0, 1, 2]
    for twin in (dataset, pickle.loads(pickle.dumps(dataset))):
        item = twin[4]
        assert np.array_equal(
            item['img'], cv2.imdecode(np.frombuffer(picture(4), np.uint8), 1))
        assert item['gt_label'] == 1
        assert get(item['img_path']) == picture(4) == twin.source.read(4)
    part = HuggingFaceImages(
        str(tmp_path / 'a'), subset, images_per_class=1, indices=2)
    assert part.get_gt_labels().tolist() == [0, 1]


def test_labels(hf, tmp_path):
    table(hf, labels=None).save_to_disk(tmp_path / 'none')
    assert 'gt_label' not in HuggingFaceImages(str(tmp_path /
                                                   'none')).get_data_info(0)
    with pytest.raises(ValueError, match='6 of the 6 images.*row 0'):
        HuggingFaceImages(str(tmp_path / 'none'), with_label=True)
    with pytest.raises(ValueError, match="label_column='breed' is not in"):
        HuggingFaceImages(str(tmp_path / 'none'), label_column='breed')
    table(
        hf, labels=[4, None, 1, 1, 1, 1],
        label=hf.Value('int32')).save_to_disk(tmp_path / 'gap')
    with pytest.raises(ValueError, match='1 of the 6 images.*row 1'):
        HuggingFaceImages(str(tmp_path / 'gap'), with_label=True)
    table(
        hf, labels=list('abcdef'),
        label=hf.Value('string')).save_to_disk(tmp_path / 'text')
    with pytest.raises(ValueError, match="column 'label'.*not.*integers"):
        HuggingFaceImages(str(tmp_path / 'text'))


def test_labels_that_are_not_wanted(hf, tmp_path):
    table(
        hf, labels=list('abcdef'),
        label=hf.Value('string')).save_to_disk(tmp_path / 'text')
    with pytest.raises(ValueError, match='with_label=False'):
        HuggingFaceImages(str(tmp_path / 'text'))
    dataset = HuggingFaceImages(str(tmp_path / 'text'), with_label=False)
    assert len(dataset) == 6 and 'gt_label' not in dataset.get_data_info(0)
    table(hf).save_to_disk(tmp_path / 'classes')
    dataset = HuggingFaceImages(str(tmp_path / 'classes'), with_label=False)
    assert dataset.CLASSES == ('cat', 'dog', 'cow')
    assert 'gt_label' not in dataset.get_data_info(0)


def test_columns_that_are_not_clear(hf, tmp_path):
    table(hf).rename_column('image', 'photo').save_to_disk(tmp_path / 'a')
    assert len(HuggingFaceImages(str(tmp_path / 'a'))) == 6
    with pytest.raises(ValueError, match="'label' .* is not an image column"):
        HuggingFaceImages(str(tmp_path / 'a'), image_column='label')
    with pytest.raises(ValueError, match='neither a folder that'):
        HuggingFaceImages(str(tmp_path))


def test_a_broken_picture_is_replaced(hf, tmp_path):
    data = [picture(0)[:100], picture(1)]
    hf.Dataset.from_dict(
        dict(image=[dict(bytes=d, path=None) for d in data]),
        features=hf.Features(dict(image=hf.Image()))).save_to_disk(tmp_path /
                                                                   'a')
    dataset = HuggingFaceImages(str(tmp_path / 'a'), pipeline=LOAD)
    assert dataset[0]['img_path'].endswith('image/1')
    assert dataset.unreadable.tolist() == [True, False]
