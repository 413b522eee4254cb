"""The table of faults is made by trying them."""
import sys

import pytest

from tests.launching import run_job


@pytest.mark.slow
def test_no_fault_loses_anything(tmp_path):
    path = tmp_path / 'faults.md'
    run_job(
        sys.executable,
        'tools/benchmarks/faults.py',
        '--kills',
        '2',
        '--out',
        str(path),
        timeout=2400)
    rows = [
        line.strip('| \n').split(' | ') for line in open(path)
        if line.startswith('|')
    ]
    assert len(rows) - 2 >= 24
    *faults, broken, code = rows[2:]
    assert {row[2] for row in faults} == {'nothing'}
    assert '2 of 40 images (5.0%) could not be read' in broken[1]
    assert 'refused' in code[1] and code[2] == 'nothing'
