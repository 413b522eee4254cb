"""The rehearsal of what runs on a GPU."""
import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools/benchmarks/gpu_all.py'


@pytest.mark.slow
def test_rehearsal(tmp_path):
    """Every section ends well on a CPU, or says why it was left out."""
    subprocess.run([sys.executable, SCRIPT, '--out', tmp_path, '--tiny'],
                   check=True)
    found = json.loads((tmp_path / 'gpu_all.json').read_text())
    assert set(found) == {
        'environment', 'numerics', 'overflow', 'compile', 'one_rank', 'fsdp',
        'step', 'authors', 'dinov2', 'cifar10'
    }
    for name, section in found.items():
        assert section['status'] == 0, name
        assert not section.get('exit_status'), name
    assert found['numerics']['furthest_from_float32']['bfloat16'] < .1
    assert len(found['cifar10']['knn']['knn/k20_top1']) == 2  # epochs
    assert {n
            for n, s in found.items()
            if 'left_out' in s} == {'overflow', 'fsdp', 'authors', 'dinov2'}


def test_a_run_that_is_cut_off_still_tells(tmp_path):
    subprocess.run([
        sys.executable, SCRIPT, '--out', tmp_path, '--tiny', '--minutes', '0'
    ],
                   check=True)
    found = json.loads((tmp_path / 'gpu_all.json').read_text())
    assert 'stopped after' in found['numerics']['status']
    assert found['cifar10']['knn'] == {}


def test_sections_by_name_are_added(tmp_path):
    for name in ('environment', 'dinov2'):
        subprocess.run([
            sys.executable, SCRIPT, '--out', tmp_path, '--tiny', '--only', name
        ],
                       check=True)
    found = json.loads((tmp_path / 'gpu_all.json').read_text())
    assert set(found) == {'environment', 'dinov2'}
    assert 'memory.py' in found['dinov2']['left_out']


@pytest.fixture
def gpu_all(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    yield importlib.import_module('gpu_all')
    sys.modules.pop('gpu_all')


SLOW = """
import json, pathlib, sys, time
print('round 1/2', flush=True)
print(json.dumps(dict(small=dict(ours=1))), flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(.01)
print(json.dumps(dict(small=dict(ours_compiled=2))))
print(json.dumps(dict(large=dict(ours=3))))
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize('status', [0, 3])
def test_a_benchmark_tells_as_it_goes(gpu_all, tmp_path, monkeypatch, capsys,
                                      status):
    (tmp_path / 'slow.py').write_text(SLOW)
    monkeypatch.setattr(gpu_all, 'HERE', tmp_path)
    found = gpu_all.benchmark(['slow.py', tmp_path / 'go', status])
    assert next(found) == dict(models=dict(small=dict(ours=1)))
    assert 'round 1/2' in capsys.readouterr().out
    (tmp_path / 'go').touch()
    *_, last = found
    assert last.pop('exit_status', 0) == status
    assert last['models'] == dict(
        small=dict(ours=1, ours_compiled=2), large=dict(ours=3))


def test_a_section_that_is_cut_off_still_tells(gpu_all, tmp_path, monkeypatch):
    """What it had found, and that its time was over."""
    script = tmp_path / 'script.py'
    script.write_text('import pathlib, sys, time\n'
                      'pathlib.Path(sys.argv[1]).write_text("{\\"a\\": 1}")\n'
                      'time.sleep(600)')
    wait = subprocess.Popen.wait

    def wait_for_the_file(process, timeout=None):
        while timeout and not found.exists():
            time.sleep(.01)
        return wait(process, timeout and .1)

    found = tmp_path / 'step.json'
    monkeypatch.setattr(subprocess.Popen, 'wait', wait_for_the_file)
    monkeypatch.setattr(gpu_all, '__file__', str(script))
    monkeypatch.setattr(sys, 'argv', ['gpu_all.py', str(found)])
    told = gpu_all.run_section('step', argparse.Namespace(out=tmp_path), 5)
    assert told.pop('seconds') < 60
    assert told == dict(a=1, status='stopped after 5 s')


def test_a_section_writes_what_it_has_found_as_it_grows(
        gpu_all, tmp_path, monkeypatch):

    def growing(args):
        yield dict(rows=1)
        yield dict(rows=2)
        raise RuntimeError('cut off')

    monkeypatch.setitem(gpu_all.SECTIONS, 'step', growing)
    with pytest.raises(RuntimeError):
        gpu_all.main(argparse.Namespace(out=tmp_path, section='step'))
    assert json.loads((tmp_path / 'step.json').read_text()) == dict(rows=2)
