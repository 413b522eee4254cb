"""The suite on an untrained tiny network, with one benchmark at hand."""
import json

import pytest
import torch
from mmengine.config import Config

from mmdino.datasets.benchmarks.layouts import LAYOUTS
from mmdino.experiments.suite import EVALUATIONS, Job
from mmdino.registry import build_module
from tests.tools.test_features_and_splits import run  # noqa: F401
from tests.tools.test_train_and_test import in_process
from tests.transfer.benchmarks import WRITERS


@pytest.fixture(scope='module')
def suite(run):  # noqa: F811

    def evaluate(*only):
        in_process('eval_suite', run / 'config.py', run / 'model.pth',
                   '--data', run / 'data', '--work-dir', run / 'suite',
                   '--only', *only)
        report = json.loads((run / 'suite' / 'report.json').read_text())
        return report['evaluations']

    return evaluate


def test_measures_what_it_can_and_says_what_is_lacking(suite, run):  # noqa
    knn, few, davis, attention, nearest = suite('knn', 'low-shot-10', 'davis',
                                                'attention', 'nearest')
    assert nearest['pictures'] == ['nearest/nearest.png']
    assert (run / 'suite/nearest/nearest.png').exists()
    assert knn['data'] == few['data'] == 'ShapeScenes'
    assert set(
        knn['values']) == {f'{k}-NN top-1, %'
                           for k in (10, 20, 100, 200)}
    assert all(10 <= value <= 100 for value in knn['values'].values())
    assert few['values'] and few['seconds'] > 0
    assert davis['lacking'].startswith(
        str(run / 'data' / 'DAVIS/ImageSets/2017/val.txt'))
    assert 'no masks' in attention['lacking']
    text = (run / 'suite' / 'report.md').read_text()
    assert 'DAVIS/ImageSets/2017/val.txt' in text.split('```')[1]
    log = (run / 'suite' / 'features' / 'log.txt').read_text()
    assert 'Epoch(test)' in log


def test_what_was_finished_is_kept(suite, run):  # noqa: F811
    (run / 'suite' / 'knn').mkdir(parents=True, exist_ok=True)
    (run / 'suite' / 'knn' / 'result.json').write_text(
        json.dumps(dict(values={'mine': 1.5}, seconds=2.)))
    knn, = suite('knn')
    assert knn['values'] == {'mine': 1.5}
    checkpoint = run / 'model.pth'
    checkpoint.touch()
    with pytest.raises(ValueError, match='figures of another checkpoint'):
        suite('knn')


def test_a_failure_does_not_stop_the_others(run, tmp_path):  # noqa: F811
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no checkpoint')
    in_process('eval_suite', run / 'config.py', broken, '--work-dir',
               tmp_path / 'suite', '--only', 'knn', 'attention')
    text = (tmp_path / 'suite' / 'report.json').read_text()
    knn, attention = json.loads(text)['evaluations']
    assert 'log.txt' in knn['error'] and knn['values'] == {}
    assert attention['lacking']


def test_every_evaluation_prepares_a_config(tmp_path):
    """With the network of another config, its own classes and data folder."""
    config = Config.fromfile('configs/quickstart/dino_vit-tiny_shapescenes.py')
    path = str(tmp_path / 'x.pth')
    torch.save(
        dict(
            meta=dict(cfg=config.pretty_text),
            state_dict=build_module(config.model).state_dict()), path)
    job = Job(config, path, tmp_path, tmp_path / 'features')
    for evaluation in EVALUATIONS:
        if evaluation.saved:
            continue
        cfg = evaluation.prepare(job)
        if evaluation.long:
            assert cfg.model.backbone.arch == config.model.backbone.arch
        elif evaluation.key != 'attention':
            assert 'backbone' not in cfg.model  # the checkpoint tells
        assert 'data/' not in cfg.pretty_text.replace(str(tmp_path), '')
        if evaluation.key == 'linear':
            assert cfg.model.num_classes == 10
            assert cfg.model.checkpoint == path
            assert cfg.train_dataloader.dataset.split == 'train'
            assert cfg.val_dataloader.dataset.split == 'test'


def test_the_checker_names_the_first_missing_file(tmp_path, capsys,
                                                  monkeypatch):
    folder, write = WRITERS['flowers102']
    write(tmp_path / folder, monkeypatch)
    in_process('check_data', tmp_path)
    lines = {
        line.partition(':')[0]: line
        for line in capsys.readouterr().out.splitlines()
    }
    assert lines['Oxford Flowers-102'].endswith(': complete')
    for name, file in (('Stanford Cars',
                        'stanford_cars/devkit/cars_train_annos.mat'),
                       ('CIFAR-10, Python version',
                        'cifar10/cifar-10-batches-py/batches.meta'),
                       ('DAVIS 2017, trainval, 480p',
                        'DAVIS/ImageSets/2017/val.txt'),
                       ('Revisited Oxford',
                        'revisitop/roxford5k/gnd_roxford5k.pkl'),
                       ('iNaturalist 2018', 'inaturalist2018/train2018.json'),
                       ('PASCAL VOC 2012, trainval',
                        'VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt')):
        assert str(tmp_path / file) in lines[name], name
    assert all(layout.title in lines for layout in LAYOUTS.values())
    (tmp_path / folder / 'setid.mat').unlink()
    in_process('check_data', tmp_path)
    assert 'flowers102/setid.mat does not exist' in capsys.readouterr().out


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint .x.pth'):
        in_process('eval_suite', 'nowhere.py', 'x.pth', '--work-dir', tmp_path)
    with pytest.raises(NotADirectoryError, match='no folder.*nowhere'):
        in_process('check_data', 'nowhere')
