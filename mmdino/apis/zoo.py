"""The published models, read from model-index.yml."""
import fnmatch
import os.path as osp
from typing import Dict, List, NamedTuple, Optional

from mmengine.fileio import load

from mmdino.resources import resource


class PublishedModel(NamedTuple):
    """A model that the authors of DINO published.

    ``metrics`` are the figures they report, in percent; ``convert`` is the
    command that makes a checkpoint of ours of ``file``.
    """
    name: str
    config: str
    url: str
    sha256_prefix: Optional[str]
    metrics: Dict[str, float]

    @property
    def file(self) -> str:
        """The name of the authors' file."""
        return osp.basename(self.url)

    @property
    def checkpoint(self) -> str:
        """Where :func:`.get_model` looks for the converted file."""
        return osp.join('checkpoints', f'{self.name}.pth')

    @property
    def convert(self) -> str:
        return (f'python tools/convert_checkpoint.py {self.file} '
                f'{self.checkpoint} --from official --to mmdino')


def list_models(pattern: str = '*') -> List[PublishedModel]:
    """List the published models.

    Args:
        pattern: Of the names, with the wildcards * and ?.
    """
    index = load(str(resource('model-index.yml')))
    models = [_read(entry) for entry in index['Models']]
    return [m for m in models if fnmatch.fnmatch(m.name, pattern)]


def _read(entry: dict) -> PublishedModel:
    origin = entry['Converted From']
    return PublishedModel(
        name=entry['Name'],
        config=entry['Config'],
        url=origin['Weights'],
        sha256_prefix=origin['SHA-256 prefix'],
        metrics={
            name: value
            for result in entry['Results']
            for name, value in result['Metrics'].items()
        })
