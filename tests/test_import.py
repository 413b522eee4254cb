import subprocess
import sys

import pytest


@pytest.mark.parametrize('missing', ['mmengine', 'mmcv', 'mmpretrain'])
def test_says_which_extra_to_install(missing):
    code = f'import sys; sys.modules[{missing!r}] = None; import mmdino'
    out = subprocess.run([sys.executable, '-c', code],
                         text=True,
                         capture_output=True)
    assert out.returncode == 1
    assert f'ImportError: mmdino needs {missing}' in out.stderr
    assert "pip install 'mmdino[onedl]'" in out.stderr


def test_import_is_light():
    """Importing mmdino builds nothing and loads no framework."""
    code = ('import sys, mmdino; '
            'print([m for m in ("torch", "mmcv") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code],
                         text=True,
                         capture_output=True)
    assert out.stdout.strip() == '[]'
