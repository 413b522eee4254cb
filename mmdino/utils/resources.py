"""The content of an installation: configs, tools, optional packages.

The configs and tools lie at the top of the repository, or in ``mmdino/.mim``
of an installed wheel.
"""
import os
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mmdino.utils.names import suggest

PACKAGE = Path(__file__).parents[1]
PACKAGED = PACKAGE / '.mim'


def resource(name: str) -> Path:
    """Return the path of 'configs', 'tools' or 'model-index.yml'.

    Raises:
        FileNotFoundError: If this installation lacks it.
    """
    for root in (PACKAGED, PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(
        f'mmdino is installed without its {name}: looked in {PACKAGED} and '
        f'{PACKAGE.parent}. Install a wheel, or from the repository with '
        '`pip install -e .`.')


def list_configs() -> dict[str, Path]:
    """Return the packaged configs by name, such as 'benchmarks/knn'."""
    root = resource('configs')
    return {
        p.relative_to(root).with_suffix('').as_posix(): p
        for p in sorted(root.rglob('*.py')) if '_base_' not in p.parts
    }


def find_config(name: str) -> str:
    """Return the path of a config, given as a file or a packaged name.

    Args:
        name: A path, or a name such as 'dino_vit-s16'. The extension '.py',
            the folders of the config and a leading 'configs/' or 'mmdino::'
            may be given or left out.

    Raises:
        FileNotFoundError: If there is no such config; suggests a similar name.
        ValueError: If several packaged configs have this name.
    """
    if Path(name).is_file():
        return name
    wanted = name.removeprefix('mmdino::').removeprefix('./')
    wanted = wanted.removesuffix('.py').removeprefix('configs/')
    configs = list_configs()
    found = [wanted] if wanted in configs else [
        key for key in configs if key.endswith(f'/{wanted}')
    ]
    if len(found) == 1:
        return str(configs[found[0]])
    if found:
        raise ValueError(f'Several configs are named {name!r}: {found}. Give '
                         'the folder as well.')
    last = {key.rpartition('/')[2]: key for key in configs}
    close = suggest(wanted, configs) or suggest(
        wanted.rpartition('/')[2], last)
    raise FileNotFoundError(
        f'There is no config {name!r}, neither as a file nor among those that '
        f'come with mmdino.{close} `mmdino configs` lists them.')


def cache_folder(*names: str) -> str:
    """Return the path of a folder in ``~/.cache/mmdino``; it may not exist.

    ``XDG_CACHE_HOME`` in the environment replaces ``~/.cache``.
    """
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.path.join(cache, 'mmdino', *names)


def require(purpose: str, *packages: str) -> None:
    """Check that optional packages are installed.

    Args:
        purpose: What needs them, the start of the error message.
        *packages: Names of the packages.

    Raises:
        ImportError: If one of the packages is missing; says how to install
            it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f'{purpose} needs {", ".join(missing)}: '
                          f'`pip install {" ".join(missing)}`.')


def let_configs_inherit() -> None:
    """Let ``_base_`` of a config name configs of mmdino, mmseg and mmdet.

    ``mmdino::dino_vit-s16.py`` is found in the repository and in an installed
    wheel. MMEngine itself does not know this package, nor the packages of the
    distributions onedl-mmsegmentation and onedl-mmdetection.
    """
    MODULE2PACKAGE.update(mmseg='mmseg', mmdet='mmdet')
    find = Config._get_cfg_path

    def find_ours(cfg_path: str, filename: str) -> tuple[str, str | None]:
        scope, _, name = cfg_path.partition('::')
        if scope != 'mmdino':
            return find(cfg_path, filename)
        path = resource('configs') / name
        return str(path if path.is_file() else find_config(name)), None

    Config._get_cfg_path = staticmethod(find_ours)
