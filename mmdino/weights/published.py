"""The models of model-index.yml, and where their files are looked for.

Most were published by the authors of DINO, and their files are not here. A
few small ones are mmdino's own: these are packaged with it.
"""
import fnmatch
import os.path as osp
from typing import Dict, List, NamedTuple, Optional

from mmengine.fileio import load

from mmdino.utils.resources import resource


class PublishedModel(NamedTuple):
    """A model of the authors of DINO, or one of ours that is packaged."""
    name: str
    config: str
    url: Optional[str]  # of the authors' file, None if it is packaged
    sha256_prefix: Optional[str]
    metrics: Dict[str, float]  # the figures that are reported, in percent
    packaged: Optional[str] = None  # file below the repository

    @property
    def file(self) -> str:
        """The name of the file as it was published."""
        return osp.basename(self.url or self.packaged)

    @property
    def checkpoint(self) -> str:
        """Where the file, the authors' converted, is looked for."""
        if self.packaged:
            folder, _, file = self.packaged.partition('/')
            return str(resource(folder) / file)
        return osp.join('checkpoints', f'{self.name}.pth')

    @property
    def convert(self) -> str:
        """The command that makes a checkpoint of ours of the file."""
        return (f'python tools/convert_checkpoint.py {self.file} '
                f'{self.checkpoint} --from official --to mmdino')


def list_models(pattern: str = '*') -> List[PublishedModel]:
    """List the published models, and those that are packaged.

    Args:
        pattern: Of the names, with the wildcards * and ?.
    """
    models = [
        PublishedModel(
            name=entry['Name'],
            config=entry['Config'],
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


def find_checkpoint(name: str) -> str:
    """The file of a checkpoint, or an address as it is.

    Args:
        name: A file, an address, or the name of a published model.

    Raises:
        FileNotFoundError: If there is no such file; of a published model it
            says where to get it and how to convert it.
    """
    name = osp.expanduser(name)
    if '://' in name or osp.isfile(name):
        return name
    published = next((m for m in list_models() if m.name == name), None)
    if published is None:
        raise FileNotFoundError(
            f'There is no checkpoint {name!r}. Training writes epoch_N.pth to '
            'its work dir; published models are '
            f'{[m.name for m in list_models()]}.')
    if not osp.isfile(published.checkpoint) and published.packaged:
        raise FileNotFoundError(
            f'This installation of mmdino is without {published.checkpoint}, '
            f'the weights of {name}: install it again, or take '
            f'{published.packaged} from the repository.')
    if not osp.isfile(published.checkpoint):
        raise FileNotFoundError(
            f'There is no {published.checkpoint}, and nothing is downloaded '
            f"unasked. Get the authors' weights from {published.url} and "
            f'convert them with `{published.convert}`, or give your own file '
            'as checkpoint.')
    return published.checkpoint
