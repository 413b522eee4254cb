"""The suite on an untrained tiny network, with one benchmark at hand."""
import json
import re
import shutil

import pytest
import torch

from mmdino.datasets.benchmarks.layouts import LAYOUTS
from mmdino.engine.configs import read_config
from mmdino.experiments import jobs
from mmdino.experiments.rows import is_imagenet, linear_imagenet
from mmdino.experiments.settings import MissingData
from mmdino.experiments.suite import ROWS, Suite, last_figures
from mmdino.registry import build_module
from tests.launching import RUN_TOOL, forked_tools
from tests.tools.test_features_and_splits import run  # noqa: F401
from tests.tools.test_train_and_test import in_process
from tests.transfer.benchmarks import WRITERS

ONLY = ('knn', 'linear', 'low-shot-10', 'davis', 'attention', 'nearest',
        'baselines')
SHORT = 'linear.train_cfg.max_epochs=2'


@pytest.fixture(scope='module', autouse=True)
def forked():
    with forked_tools():
        yield


@pytest.fixture(scope='module')
def suite(run):  # noqa: F811

    def evaluate(*options, only=ONLY, checkpoint='model.pth', work='suite'):
        options = options or ('--cfg-options', SHORT)
        in_process('eval_suite', run / 'config.py', run / checkpoint, '--data',
                   run / 'data', '--work-dir', run / work, '--only', *only,
                   *options)
        report = json.loads((run / work / 'report.json').read_text())
        return report['evaluations']

    evaluate()
    return evaluate


def plan(suite, capsys, *options, **kwargs):  # noqa: F811
    """States by rows."""
    capsys.readouterr()
    suite('--dry-run', *(options or ('--cfg-options', SHORT)), **kwargs)
    lines = re.findall(r'\| (\S+) \| .* \| (.*) \|', capsys.readouterr().out)
    return {key: state for key, state in lines if key in ONLY}


def to_run(states):
    return {key for key, state in states.items() if 'to run' in state}


def test_measures_what_it_can_and_says_what_is_lacking(suite, run):  # noqa
    knn, linear, few, davis, attention, nearest, baselines = suite()
    assert set(baselines['values']) == {
        f'{k}-NN top-1 of {model}, %'
        for k in (10, 20, 100, 200)
        for model in ('raw pixels', 'the untrained network')
    }
    assert nearest['pictures'] == ['nearest/nearest.png']
    assert (run / 'suite/nearest/nearest.png').exists()
    assert knn['data'] == few['data'] == 'ShapeScenes'
    assert set(
        knn['values']) == {f'{k}-NN top-1, %'
                           for k in (10, 20, 100, 200)}
    assert all(10 <= value <= 100 for value in knn['values'].values())
    assert set(linear['values']) == {'top-1, %', 'learning rate of 256 images'}
    assert few['values'] and few['seconds'] > 0
    assert davis['lacking'].startswith(
        str(run / 'data' / 'DAVIS/ImageSets/2017/val.txt'))
    assert 'needs masks' in attention['lacking']
    text = (run / 'suite' / 'report.md').read_text()
    assert 'DAVIS/ImageSets/2017/val.txt' in text.split('```')[1]
    log = (run / 'suite' / 'features' / 'log.txt').read_text()
    assert 'Epoch(test)' in log


def test_what_is_unchanged_is_not_run_again(suite, run, capsys):  # noqa: F811
    states = plan(suite, capsys)
    assert {states[k]
            for k in ('knn', 'linear', 'low-shot-10', 'nearest')
            } == {'finished'}
    assert states['davis'].startswith('skipped: ')
    suite('--dry-run')
    assert ' | configs/benchmarks/davis.py | ' in capsys.readouterr().out
    seconds = [row['seconds'] for row in suite()]
    assert seconds == [row['seconds'] for row in suite()]


@pytest.mark.parametrize(
    'options,rows',
    [(['linear.train_cfg.max_epochs=3'], {'linear'}),
     (['knn.test_evaluator.k=(5,)', SHORT], {'knn'}),
     (['nearest.k=3', SHORT], {'nearest'}),
     (['low-shot-10.label_share=.2', SHORT], {'low-shot-10'}),
     (['run.train_cfg.max_epochs=9', SHORT], set()),
     (['run.test_dataloader.dataset.split=val', SHORT
       ], {'knn', 'linear', 'low-shot-10', 'nearest', 'baselines'})])
def test_an_option_runs_what_depends_on_it(options, rows, suite, capsys):
    assert to_run(plan(suite, capsys, '--cfg-options', *options)) == rows


def test_other_weights_run_all_again(suite, run, capsys):  # noqa: F811
    checkpoint = torch.load(run / 'model.pth')
    shutil.copy(run / 'model.pth', run / 'same.pth')
    before = suite()
    assert not to_run(plan(suite, capsys, checkpoint='same.pth'))
    for value in checkpoint['state_dict'].values():
        if value.is_floating_point():
            value += .01
    torch.save(checkpoint, run / 'same.pth')
    assert to_run(plan(suite, capsys, checkpoint='same.pth')) == {
        'knn', 'linear', 'low-shot-10', 'nearest', 'baselines'
    }
    after = suite('--processes', 1, only=['knn'], checkpoint='same.pth')
    assert after[0]['seconds'] != before[0]['seconds']
    assert suite() == before  # what was set aside is taken back


def test_an_option_is_followed(suite, run):  # noqa: F811
    knn, = suite(
        '--cfg-options',
        'knn.test_evaluator.k=(5,)',
        'run.test_dataloader.dataset.num_images=20',
        only=['knn'],
        work='other')
    assert list(knn['values']) == ['5-NN top-1, %']
    assert knn['values']['5-NN top-1, %'] % 5 == 0  # of 20 pictures


@pytest.mark.parametrize('option,message', [
    ('liner.train_cfg.max_epochs=3', "Did you mean 'linear'"),
    ('linear.train_cgf.max_epochs=3', "linear: .*Did you mean 'train_cfg'"),
    ('run.test_dataloder.batch_size=3', "Did you mean 'test_dataloader'"),
    ('nearest.neighbours=3',
     "no option 'neighbours'; the options are queries, k"),
    ('davis.model.topk=3 knn.model.x=1', 'one of the rows of this run'),
])
def test_a_wrong_option_stops_all(option, message, suite):
    with pytest.raises(ValueError, match=message):
        suite(
            '--cfg-options',
            *option.split(),
            only=['knn', 'linear', 'nearest'])


def test_a_failure_does_not_stop_the_others(
        run,  # noqa: F811
        tmp_path,
        monkeypatch):
    monkeypatch.setattr(jobs, '_run', RUN_TOOL)  # as users have it
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no checkpoint')
    with pytest.raises(SystemExit, match='Failed: knn.'):
        in_process('eval_suite', run / 'config.py', broken, '--work-dir',
                   tmp_path / 'suite', '--only', 'knn', 'attention')
    text = (tmp_path / 'suite' / 'report.json').read_text()
    knn, attention = json.loads(text)['evaluations']
    assert 'log.txt' in knn['error'] and knn['values'] == {}
    assert attention['lacking']


def test_a_folder_of_unknown_settings_is_refused(run, tmp_path):  # noqa: F811
    suite = Suite(
        str(run / 'config.py'), str(run / 'model.pth'), tmp_path, tmp_path)
    (tmp_path / 'knn').mkdir()
    (tmp_path / 'knn/result.json').write_text('{"values": {"mine": 1.5}}')
    assert 'no job.json' in suite.attempt(suite.rows[0]).error


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of the quickstart's network that keeps its config."""
    config = read_config('configs/quickstart/dino_vit-tiny_shapescenes.py')
    path = str(tmp_path / 'x.pth')
    torch.save(
        dict(
            meta=dict(cfg=config.pretty_text),
            state_dict=build_module(config.model).state_dict()), path)
    return Suite(
        None,
        path,
        tmp_path,
        tmp_path / 'suite',
        keys=[row.key for row in ROWS])


def test_every_row_prepares_a_config(trained, tmp_path):
    """With the network of another config, its own classes and data folder."""
    arch = trained.config.model.backbone.arch
    for row in ROWS:
        cfg = trained.prepare(row)
        if row.long:
            assert cfg.model.backbone.arch == arch
        elif row.key not in ('attention', 'baselines') and 'model' in cfg:
            assert 'backbone' not in cfg.model  # the checkpoint tells
        assert 'data/' not in cfg.pretty_text.replace(str(tmp_path), '')
        if row.key == 'linear':
            assert cfg.model.num_classes == 7
            assert cfg.model.checkpoint == trained.checkpoint
        if row.key == 'rparis':
            assert len(cfg.model.features.scales) == 3
            assert '512' in cfg.pretty_text
        if row.layout:
            with pytest.raises(MissingData):
                trained.job(row)


def test_imagenet_is_known_by_its_classes(trained):
    names = [f'n{i:08}' for i in range(1000)]
    assert is_imagenet(names)
    assert not is_imagenet(names[:100]) and not is_imagenet(None)
    assert not is_imagenet([*names[1:], 'other'])
    trained.config.test_dataloader.dataset = dict(
        type='Images', data_root='/mnt/x', subset='val')
    cfg = linear_imagenet(trained)
    assert cfg.val_dataloader.dataset.data_root == '/mnt/x'
    assert cfg.val_dataloader.dataset.pipeline[1].type == 'CenterView'


def test_the_best_epoch_of_linear_classifiers(tmp_path):
    lines = [
        dict(loss=1., step=1),
        {'linear/best_top1': 50., 'linear/best_lr': .1, 'accuracy/top1': 9.},
        {'linear/best_top1': 70., 'linear/best_lr': .2, 'accuracy/top1': 8.},
        {'linear/best_top1': 60., 'linear/best_lr': .3, 'accuracy/top1': 7.}
    ]  # yapf: disable
    (tmp_path / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    figures = last_figures(tmp_path)
    assert figures['linear/best_top1'] == 70.
    assert figures['linear/best_lr'] == .2
    assert figures['accuracy/top1'] == 7.


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


@pytest.mark.parametrize('kind,rate', [('mmdino.VisionTransformer', '0.001'),
                                       ('mmpretrain.XCiT', '0.001'),
                                       ('mmpretrain.ResNet', '0.3')])
def test_the_authors_rate_on_imagenet(trained, kind, rate):
    trained.network = dict(backbone=dict(type=kind))
    (key, name), = trained.authors_rate().items()
    assert key == f'linear/lr{rate}_top1' and rate in name
