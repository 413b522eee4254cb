"""The models of DINO and DINOv2 that were published, of model-index.yml."""
import fnmatch
import os.path as osp
from typing import Dict, List, NamedTuple, Optional

from mmengine.fileio import load

from mmdino.utils.resources import resource


class PublishedModel(NamedTuple):
    """A model that the authors of DINO or DINOv2 published."""
    name: str
    config: Optional[str]  # None where its file tells the network
    url: str
    sha256_prefix: Optional[str]
    metrics: Dict[str, float]  # the figures that they report, in percent

    @property
    def checkpoint(self) -> str:
        """Where a converted file is looked for."""
        return osp.join('checkpoints', f'{self.name}.pth')


def list_models(pattern: str = '*') -> List[PublishedModel]:
    """List the published models.

    Args:
        pattern: Of the names, with the wildcards * and ?.
    """
    models = [
        PublishedModel(
            name=entry['Name'],
            config=entry.get('Config'),
            url=entry['Converted From']['Weights'],
            sha256_prefix=entry['Converted From']['SHA-256 prefix'],
            metrics={
                name: value
                for result in entry['Results']
                for name, value in result['Metrics'].items()
            }) for entry in load(str(resource('model-index.yml')))['Models']
    ]
    return [m for m in models if fnmatch.fnmatch(m.name, pattern)]
