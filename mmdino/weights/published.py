"""The published models of model-index.yml, and their files.

Most were published by the authors of DINO and DINOv2, and their files are not
here. A few small ones are mmdino's own: these are packaged with it.
"""
import fnmatch
import os.path as osp
from typing import NamedTuple

from mmengine.fileio import load

from mmdino.utils.resources import resource


class PublishedModel(NamedTuple):
    """A published model of the authors of DINO or DINOv2, or one of ours."""
    name: str
    config: str | None  # None where its file tells the network
    url: str | None  # of the authors' file, None if it is packaged
    sha256_prefix: str | None
    metrics: dict[str, float]  # the figures that are reported, in percent
    packaged: str | None = None  # file below the repository

    @property
    def checkpoint(self) -> str:
        """Return where the file is looked for, converted ones first."""
        if self.packaged:
            folder, _, file = self.packaged.partition('/')
            return str(resource(folder) / file)
        return osp.join('checkpoints', f'{self.name}.pth')


def list_models(pattern: str = '*') -> list[PublishedModel]:
    """List the published models and those that come with mmdino.

    Args:
        pattern: Of the names, with the wildcards * and ?.
    """
    models = [
        PublishedModel(
            name=entry['Name'],
            config=entry.get('Config'),
            url=entry.get('Converted From', {}).get('Weights'),
            sha256_prefix=entry.get('Converted From',
                                    {}).get('SHA-256 prefix'),
            packaged=entry.get('Weights'),
            metrics={
                name: value
                for result in entry['Results']
                for name, value in result['Metrics'].items()
            }) for entry in load(str(resource('model-index.yml')))['Models']
    ]
    return [m for m in models if fnmatch.fnmatch(m.name, pattern)]
