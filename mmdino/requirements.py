"""Packages that only some commands need."""
from importlib.util import find_spec


def require(purpose: str, *packages: str) -> None:
    """Say what to install for the purpose.

    Raises:
        ImportError: If one of the packages is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f'{purpose} needs {", ".join(missing)}: '
                          f'`pip install {" ".join(missing)}`.')
