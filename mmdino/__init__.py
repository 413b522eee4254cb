"""DINO self-supervised learning as registered MMEngine components."""
from importlib.util import find_spec

__version__ = '0.1.0'

_missing = [p for p in ('mmengine', 'mmcv', 'mmpretrain') if not find_spec(p)]
if _missing:
    raise ImportError(
        f'mmdino needs {", ".join(_missing)}, which is not installed. '
        "Install the maintained distributions with `pip install 'mmdino"
        "[onedl]'`, or the original ones with `pip install 'mmdino"
        "[openmmlab]'`; never both in one environment.")

from mmdino.utils.resources import let_configs_inherit  # noqa: E402
from mmdino.utils.screen import import_quietly  # noqa: E402

let_configs_inherit()
import_quietly()
