"""All tools alike: their help, and what a user's mistakes end in.

Before they had one place for errors, nine of the twelve mistakes below ended
in a traceback, 13 to 71 lines on stderr and the exit status 1, one of them
after 336 lines on the screen; the other three in 6 to 9 lines of usage.
"""
import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from mmdino import cli
from mmdino.engine.configs import read_config
from mmdino.engine.testing import start_from
from mmdino.utils import tool
from mmdino.utils.tool import explain
from mmdino.weights import convert, save_checkpoint
from tests.tools.test_train_and_test import in_process
from tests.weights import states

TOOLS = Path(__file__).parents[2] / 'tools'
# launch.py has the options of torchrun.
NAMES = sorted(
    path.relative_to(TOOLS).with_suffix('').as_posix()
    for path in (*TOOLS.glob('*.py'), *TOOLS.glob('visualization/*.py'),
                 *TOOLS.glob('experiments/*.py')) if path.stem != 'launch')
BENCHMARKS = sorted(f'benchmarks/{path.stem}'
                    for path in TOOLS.glob('benchmarks/*.py')
                    if '__main__' in path.read_text())


@pytest.mark.parametrize('name', NAMES + BENCHMARKS)
def test_every_option_has_help(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS / 'benchmarks'))
    parsers = []
    monkeypatch.setattr(argparse.ArgumentParser, 'print_help',
                        lambda parser: parsers.append(parser))
    with pytest.raises(SystemExit) as ending:
        in_process(name, '--help')
    assert ending.value.code == 0
    parser, = parsers
    assert len(parser.format_help().splitlines()) > 5
    assert not [a.dest for a in parser._actions if not a.help]
    assert isinstance(parser, tool.Parser)
    if any(action.dest == 'checkpoint' for action in parser._actions):
        assert any(action.dest == 'config' for action in parser._actions)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    for i in range(2):
        Image.fromarray(np.full((40, 40, 3), 99 * i,
                                np.uint8)).save(folder / f'{i}.png')
    return folder


@pytest.fixture(scope='module')
def places(pictures, tmp_path_factory):
    """What the mistakes below name."""
    root = tmp_path_factory.mktemp('places')
    for name in ('classes/cat', 'classes/dog', 'empty'):
        (root / name).mkdir(parents=True)
    picture = (pictures / '0.png').read_bytes()
    for name in ('cat', 'dog'):
        (root / f'classes/{name}/0.png').write_bytes(picture)
    (root / 'text.pth').write_text('hello')
    save_checkpoint(
        convert(states.vit(), 'official', 'mmdino'), str(root / 'vit.pth'))
    return dict(
        PICTURES=pictures,
        CLASSES=root / 'classes',
        EMPTY=root / 'empty',
        TEXT=root / 'text.pth',
        VIT=root / 'vit.pth')


CONFIG = 'dino_resnet10_images'
MISTAKES = {
    'a config is misspelt':
    (('train', 'dino_vit-s61'),
     r"no config 'dino_vit-s61'.* Did you mean 'dino_vit-s16'\?"),
    'a published model is misspelt':
    (('visualization/attention', 'PICTURES', '--checkpoint', 'dino_cifar01'),
     r"no checkpoint 'dino_cifar01'\. Did you mean 'dino_cifar10'\?"),
    'a published model is not downloaded':
    (('visualization/pca', 'PICTURES', '--checkpoint', 'dino_vit-s16'),
     'nothing is downloaded unasked. Give --download'),
    'the pictures are elsewhere':
    (('train', CONFIG, '--work-dir', 'OUT', '--no-validate', '--cfg-options',
      'data_root=/nowhere'), "data_root '/nowhere' does not exist"),
    'a setting is misspelt':
    (('train', CONFIG, '--cfg-options', 'train_cfg.max_epoch=3'),
     r"no setting 'max_epoch'\. Did you mean 'max_epochs'\?"),
    'a component is misspelt': (('train', CONFIG, '--work-dir', 'OUT',
                                 '--no-validate', '--cfg-options',
                                 'data_root=PICTURES', 'model.type=DINOO'),
                                r"'DINOO'\. Did you mean 'DINO'\?"),
    'a setting has no value': (('train', CONFIG, '--cfg-options', 'lr'),
                               "takes KEY=VALUE, such as .* not 'lr'"),
    'there is no GPU': (('train', CONFIG, '--device', 'cuda:7'),
                        "no device 'cuda:7': torch sees 0 GPUs"),
    'there is no GPU to compare on': (('export', 'dino_cifar10', '--format',
                                       'onnx', '--device', 'cuda:7'),
                                      "no device 'cuda:7': torch sees 0 GPUs"),
    'the checkpoint is a picture': (('test', 'knn', 'PICTURES/0.png'),
                                    '0.png is no checkpoint|0.png'),
    'the checkpoint is a text': (('test', 'knn', 'TEXT'),
                                 r'or no checkpoint\. Download or copy'),
    'the checkpoint is of another network':
    (('test', CONFIG, 'VIT', '--cfg-options', 'data_root=PICTURES'),
     'does not fit SmallResNet: missing .* Give the config of the network'),
    'the subset is not there': (('test', 'knn', 'dino_cifar10',
                                 '--cfg-options', 'data_root=CLASSES'),
                                "no folder 'val' .*, but cat, dog: name one"),
    'there is no picture': (('visualization/attention', 'EMPTY',
                             '--checkpoint', 'VIT'), 'no image in '),
    'the network has no attention': (('visualization/attention', 'PICTURES',
                                      '--checkpoint', 'dino_cifar10'),
                                     'attention'),
    'an option is misspelt': (('visualization/pca', 'PICTURES', '--chekpoint',
                               'x'), r"Did you mean '--checkpoint'\?"),
    'a table is misspelt': (('ablate', 'techer'), r"Did you mean 'teacher'\?"),
}


@pytest.mark.parametrize('arguments,message', MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(arguments, message, places, tmp_path, capsys,
                               monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    # The log of the test before writes to a stream that is closed.
    monkeypatch.setattr(MMLogger, '_instance_dict',
                        type(MMLogger._instance_dict)())
    for key, value in dict(places, OUT=tmp_path / 'out').items():
        arguments = [text.replace(key, str(value)) for text in arguments]
    with pytest.raises(SystemExit) as ending:
        in_process(*arguments, as_user=True)
    assert ending.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in told if 'error: ' in line]) == 1, told
    assert 'Traceback' not in ''.join(told)
    assert re.search(message, told[-1]), told


@pytest.mark.parametrize('config,place', [
    ('dino_vit-s16', 'load_from'),
    ('benchmarks/linear', 'model.checkpoint'),
    ('transfer/mmpretrain/finetune_cifar10', 'model.checkpoint'),
    ('transfer/mmseg/upernet_vit-s8_ade20k',
     'model.backbone.init_cfg.checkpoint'),
])
def test_training_starts_from_a_checkpoint_by_one_option(config, place):
    if 'mmseg' in config:
        pytest.importorskip('mmseg')
    cfg = read_config(config)
    start_from(cfg, 'dino_cifar10')
    for key in place.split('.'):
        cfg = cfg[key]
    assert Path(cfg).stem == 'dino_cifar10'


def raised(*lines):
    """The error that code raises."""
    with pytest.raises(Exception) as caught:
        exec('\n'.join(lines), {})
    return caught.value


@pytest.mark.parametrize('name,extra', [('mmseg', 'seg'), ('mmdet', 'det')])
def test_a_toolbox_that_is_not_installed(name, extra):
    """Of the extra that brings it, as MMEngine does not know of it."""
    error = AssertionError(f'{name} is not installed, please install {name}')
    assert f"pip install 'mmdino[{extra}]'" in tool._message(error)


def test_an_argument_that_a_component_does_not_take():
    """Of a toolbox, whose components no check of ours knows."""
    error = raised('from mmengine.registry import HOOKS',
                   'HOOKS.build(dict(type="LoggerHook", intervall=1))')
    assert explain(error) == (
        "LoggerHook takes no 'intervall'. Did you mean 'interval'?")
    error = raised('from mmengine.hooks import LoggerHook',
                   'LoggerHook(intervall=1)')
    assert explain(error) is None  # no config's


def test_a_data_set_of_a_toolbox_without_an_image():
    error = raised(
        'from mmengine.dataset import BaseDataset',
        'class Photos(BaseDataset):', '    img_suffix = ".jpg"',
        '    def load_data_list(self):', '        return []',
        'Photos(data_root="here", data_prefix=dict(img_path="train"))')
    assert explain(error).startswith(
        'The Photos has no image. It looks in here/train for *.jpg (img')


def test_a_json_that_is_cut_short_is_named(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text('{"images": [')
    error = raised('import json', f'json.load(open({str(path)!r}))')
    assert explain(error).startswith(f'{path} is no whole JSON: Expecting')


def test_missing_operators():
    error = ModuleNotFoundError(
        "No module named 'mmcv._ext'", name='mmcv._ext')
    assert 'tools/build_mmcv_ops.sh' in explain(error)


def test_bugs_keep_their_traceback():
    assert explain(raised('{}["x"]')) is None
    assert explain(raised('a, b = 1, 2, 3')) is None
    assert explain(raised('None.x')) is None
    assert explain(raised('assert 0')) is None


def test_the_command_lists_and_runs(capsys, monkeypatch):
    for name in NAMES:
        assert f'{name}.py' in cli.TOOLS.values() or 'experiments' in name
    monkeypatch.setattr(sys, 'argv', ['mmdino'])
    cli.main()
    listed = capsys.readouterr().out
    assert all(f'  {name} ' in listed for name in cli.TOOLS)
    assert max(map(len, listed.splitlines())) < 100
    for name, told in (('configs', 'benchmarks/knn'), ('models',
                                                       'dinov2_vit-s14')):
        monkeypatch.setattr(sys, 'argv', ['mmdino', name])
        cli.main()
        assert told in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['mmdino', 'atention'])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 2
    assert "Did you mean 'attention'?" in capsys.readouterr().err


def as_command(monkeypatch, *arguments):
    """Run ``mmdino`` with arguments; its exit status."""
    monkeypatch.setattr(sys, 'argv', ['mmdino', *arguments])
    monkeypatch.setattr(tool, 'command', None)
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return ending.value.code


@pytest.mark.parametrize('name', ['pca', 'train', 'quickstart', 'launch'])
def test_the_command_calls_its_tools_as_it_was_called(name, monkeypatch,
                                                      capsys):
    assert as_command(monkeypatch, name, '--help') == 0
    told = capsys.readouterr().out
    assert told.startswith(f'usage: mmdino {name} [')
    assert 'python tools/' not in told and 'python -m mmdino' not in told
    if name != 'launch':
        assert '--checkpoint' in told
        assert f'mmdino {name} ' in told.partition('\n\n')[2]


def test_errors_of_the_command_name_it(monkeypatch, capsys):
    assert as_command(monkeypatch, 'train', '--amq') == 2
    assert capsys.readouterr().err.startswith(
        "mmdino train: error: there is no option --amq. Did you mean '--amp'")
    assert as_command(monkeypatch, 'train', 'no_such') == 2
    assert capsys.readouterr().err.startswith('mmdino train: error: ')
