"""The tables of configs/ablations/ and the configs of their rows.

A table is a folder, a row a config in it that holds one switch. It inherits
from the paper's setting, or from the config that the environment variable
``MMDINO_BASE`` names: the same rows serve any size of network and data.
"""
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence

from mmengine.config import Config

from mmdino.resources import resource

ABLATIONS = resource('configs') / 'ablations'
PAPER = resource('configs') / 'dino_vit-s16.py'
BASES = {p.stem: p for p in sorted((ABLATIONS / '_base_').glob('*.py'))}


class Variant(NamedTuple):
    """A row of a table.

    Attributes:
        name: File name without its extension.
        title: The first sentence of the config's comment.
        path: The config.
    """
    name: str
    title: str
    path: Path


def list_tables() -> List[str]:
    """Names of the tables."""
    return sorted(p.name for p in ABLATIONS.iterdir()
                  if p.is_dir() and not p.name.startswith('_'))


def find_variants(table: str,
                  names: Optional[Sequence[str]] = None) -> List[Variant]:
    """The rows of a table, by their names, numbers in their order.

    Args:
        table: One of :func:`list_tables`.
        names: Some of its rows; all by default.

    Raises:
        ValueError: If there is no such table or row.
    """
    if table not in list_tables():
        raise ValueError(f'There is no table {table!r} in {ABLATIONS}: choose '
                         f'one of {list_tables()}.')
    found = {p.stem: p for p in (ABLATIONS / table).glob('*.py')}
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise ValueError(f'The table {table!r} has no row {unknown[0]!r}: '
                         f'choose among {sorted(found, key=_natural)}.')
    return [
        Variant(name, _title(found[name]), found[name])
        for name in names or sorted(found, key=_natural)
    ]


def load_variant(path: Path, base: Optional[Path] = None) -> Config:
    """Read a row's config.

    Args:
        path: The config.
        base: What it inherits from instead of the paper's setting.

    Raises:
        ValueError: If the base lacks what the row changes.
    """
    with _environment('MMDINO_BASE', base and str(base.absolute())):
        try:
            return Config.fromfile(path)
        except (AttributeError, IndexError, KeyError) as error:
            raise ValueError(
                f'The row {path} cannot be put upon {base}, which lacks what '
                f'it changes ({error}): leave it out by --rows.') from error


@contextmanager
def _environment(name: str, value: Optional[str]) -> Iterator[None]:
    """Set or, without a value, unset a variable for a while."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _title(path: Path) -> str:
    """The first sentence of the comment that the file begins with."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return re.split(r'\.(?:\s|$)|: vanilla', ' '.join(lines))[0]


def _natural(name: str) -> list:
    """A key that sorts 'k-4096' before 'k-16384'."""
    return [
        float(part) if index % 2 else part
        for index, part in enumerate(re.split(r'(\d+(?:\.\d+)?)', name))
    ]
