"""The rehearsal of what runs on a GPU."""
import json
import subprocess
import sys
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
