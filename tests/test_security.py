"""Files that others made run nothing; nothing is sent, nothing strewn."""
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch
from mmengine.config import Config

from mmdino import train
from mmdino.apis import get_model
from mmdino.engine.launch import build_runner
from mmdino.weights import CheckpointError, open_weights
from mmdino.weights.config import read_plain_config
from tests.resuming import StopAfter, random_cfg
from tests.resuming import train as train_and_stop
from tests.tiny import runner_cfg
from tests.tools.test_train_and_test import in_process
from tests.weights.test_files import Malicious

ROOT = Path(__file__).parents[1]
CODE = sorted([*ROOT.glob('mmdino/**/*.py'), *ROOT.glob('tools/**/*.py')])
RUN_CODE = {
    'eval', 'exec', 'pickle.load', 'pickle.loads', 'os.system', 'os.popen',
    'Config.fromstring', 'torch.hub.load'
}


def calls(path):
    """Dotted name and keywords of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            yield ast.unparse(node.func), keywords


def test_no_code_of_ours_runs_what_it_reads():
    assert len(CODE) > 100
    for path, (name, keywords) in ((p, c) for p in CODE for c in calls(p)):
        assert name not in RUN_CODE, path
        assert keywords.get('shell') in (None, 'False'), path
        assert keywords.get('allow_pickle') in (None, 'False'), path
        if name == 'torch.load':
            assert keywords.get('weights_only') == 'True', path


def trained(tmp_path):
    """A run's first checkpoint."""
    cfg = runner_cfg(tmp_path, epochs=1)
    cfg.launcher = 'none'
    build_runner(cfg).train()
    return tmp_path / 'epoch_1.pth'


def continue_by(way, tmp_path, path):
    cfg = runner_cfg(tmp_path, epochs=2)
    cfg.launcher = 'none'
    if way == 'resume':
        cfg.resume, cfg.load_from = True, str(path)
    elif way == 'the last of the work dir':
        cfg.resume = True
    elif way == 'load_from':
        cfg.load_from = str(path)
    else:
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=str(path))
    build_runner(cfg).train()


@pytest.mark.parametrize(
    'way', ['resume', 'the last of the work dir', 'load_from', 'init_cfg'])
def test_nothing_in_a_checkpoint_is_run(way, tmp_path):
    path, trap = trained(tmp_path), tmp_path / 'trap'
    state = torch.load(path, weights_only=False)
    state['meta']['more'] = Malicious(trap)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match='nothing of it was run.*mkdir'):
        continue_by(way, tmp_path, path)
    assert not trap.exists()


def test_a_config_in_a_checkpoint_is_not_run(tmp_path):
    """MMEngine's resume runs that of its old releases."""
    path, trap = trained(tmp_path), tmp_path / 'trap'
    state = torch.load(path, weights_only=False)
    code = f'import os\nos.mkdir({str(trap)!r})\n'
    state['meta'].update(config=code, cfg=code)
    torch.save(state, path)
    continue_by('resume', tmp_path, path)
    assert (tmp_path / 'epoch_2.pth').exists()
    get_model(checkpoint=str(path))  # by the network config beside it
    del state['meta']['network']
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="refused.*'import os'"):
        get_model(checkpoint=str(path))
    assert not trap.exists()


def hostile(folder, part, kind):
    """A checkpoint whose network config names something to be called."""
    network = open_weights('tests/data/checkpoints/vit.pth').network
    bad = dict(type=kind, path=str(folder / 'trap'))
    if part == 'stem':
        network['backbone']['stem'] = bad
    elif part == 'scope':
        network['backbone']['_scope_'] = kind
    else:
        network[part] = bad
    weights = open_weights('tests/data/checkpoints/vit.pth')
    torch.save(
        dict(meta=dict(network=network), state_dict=weights.tensors),
        folder / 'evil.pth')
    return str(folder / 'evil.pth')


@pytest.mark.parametrize('part', ['backbone', 'neck', 'stem', 'scope'])
@pytest.mark.parametrize('kind', [
    'os.mkdir', 'subprocess.call', 'antigravity',
    'mmdino.utils.resources.require'
])
def test_a_type_in_a_checkpoint_is_not_called(part, kind, tmp_path):
    """MMEngine would take it for a Python object and call it."""
    path = hostile(tmp_path, part, kind)
    with pytest.raises(CheckpointError, match='no registered component'):
        get_model(path)
    assert not (tmp_path / 'trap').exists()


def test_a_data_set_in_a_checkpoint_is_not_called(tmp_path):
    weights = open_weights('tests/data/checkpoints/vit.pth')
    cfg = weights.config
    cfg.test_dataloader.dataset = dict(
        type='os.mkdir', path=str(tmp_path / 'trap'))
    meta = dict(weights.meta, cfg=cfg.pretty_text)
    torch.save(
        dict(meta=meta, state_dict=weights.tensors), tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match="'os.mkdir', which is no"):
        in_process('extract_features', '--checkpoint', tmp_path / 'evil.pth',
                   '--out', tmp_path / 'features')
    assert not (tmp_path / 'trap').exists()


@pytest.mark.parametrize('text', [
    'x = open("f")', 'x = dict(a=__import__("os"))', 'x.y = 1', 'x = [1 for _'
    ' in (1,)]', 'x = dict(**{"a": 1})', 'x = y', 'for x in (1,): pass',
    'x = f"{1}"', 'x = 1 +'
])
def test_configs_that_are_not_plain_are_refused(text):
    with pytest.raises(CheckpointError, match='refused|damaged'):
        read_plain_config(text)


@pytest.mark.parametrize(
    'path', ['configs/dino_vit-s16.py', 'configs/dino_resnet50.py'])
def test_plain_configs_are_read_as_mmengine_reads_them(path):
    cfg = Config.fromfile(ROOT / path)
    cfg.odd = {'1.a': (-1, float('inf')), 2: {3}}
    text = cfg.pretty_text
    expected = Config.fromstring(
        re.sub(r'\binf\b', 'float("inf")', text), '.py')
    assert read_plain_config(text).to_dict() == expected.to_dict()


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {'os.mkdir', 'os.rename', 'os.symlink', 'os.link', 'os.truncate'}
NETWORK = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostby',
           'socket.sendto', 'urllib.Request')


def train_watched(config, log, *options):
    """Train as from the command line; note what Python tells auditors."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def audit(event, args):
        if event == 'open' and isinstance(args[0], (str, bytes)):
            if not args[2] & WRITES:
                return
        elif event == 'socket.connect' and isinstance(args[1], (str, bytes)):
            return  # a pipe between a process and its workers
        elif event not in CHANGES and not event.startswith(NETWORK):
            return
        names = [
            os.path.abspath(os.fsdecode(a)) for a in args
            if isinstance(a, (str, bytes)) and len(a) > 2
        ]
        for name in names or ['']:
            os.write(handle, f'{event} {name}\n'.encode())

    sys.addaudithook(audit)
    sys.argv = ['train.py', str(config), *options]
    train.main()


WATCHED = '''
import sys
from tests.test_security import train_watched
train_watched(*sys.argv[1:])
'''


def test_files_are_written_to_the_work_dir_alone(tmp_path, tmp_path_factory,
                                                 monkeypatch):
    """And nothing is asked of a network, by workers neither."""
    # Short: the workers' sockets lie there, in paths of at most 107 bytes.
    temporary = tmp_path_factory.mktemp('t')
    cfg = random_cfg(tmp_path / 'work', workers=2)
    with pytest.raises(SystemExit):
        train_and_stop(cfg, StopAfter(5))
    monkeypatch.setenv('TMPDIR', str(temporary))
    for name in ('HOME', 'XDG_CACHE_HOME', 'here'):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv('MPLCONFIGDIR', matplotlib.get_cachedir())
    monkeypatch.setenv('PYTHONDONTWRITEBYTECODE', '1')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), *sys.path]))
    monkeypatch.chdir(tmp_path / 'here')
    cfg.pop('work_dir')
    cfg.dump(tmp_path / 'config.py')
    log = tmp_path / 'log'
    command = [
        sys.executable, '-c', WATCHED, tmp_path / 'config.py', log, '--resume',
        '--work-dir', tmp_path / 'work'
    ]
    out = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert out.returncode == 0, out.stderr[-3000:]
    assert 'resumed epoch: 1, iter: 5' in out.stdout + out.stderr
    seen = {tuple(x.split(' ', 1)) for x in log.read_text().splitlines()}
    # Temporary files are gone in the end; yapf, with which MMEngine writes
    # configs, keeps a cache.
    allowed = (str(tmp_path / 'work'), str(temporary),
               str(tmp_path / 'XDG_CACHE_HOME/YAPF'), '/dev/null', '/dev/shm/')
    outside = {(e, name) for e, name in seen if not name.startswith(allowed)}
    assert outside <= {('os.mkdir', str(tmp_path / 'XDG_CACHE_HOME'))}
    assert ('open', str(tmp_path / 'work/epoch_3.pth.tmp')) in seen
    for folder in (tmp_path / 'HOME', temporary, tmp_path / 'here'):
        assert not [p for p in folder.rglob('*') if p.is_file()]
