"""Finding and downloading of the file of a checkpoint, by its name.

A checkpoint is named by

- a file, or a folder as transformers and timm write it;
- the name of a published model of model-index.yml, such as ``dino_vit-s16``;
- ``timm:NAME``, a model of ``timm.list_pretrained()``;
- ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``, a repository of the Hugging Face
  hub;
- an address, ``https://...``.

Files in the caches of torch.hub and huggingface_hub are used. An address that
is not in the cache is downloaded, as everywhere in MMEngine. Everything else
is downloaded only with ``--download``, inside :func:`downloads_allowed`, or
with ``MMDINO_DOWNLOAD=1`` in the environment. On each node the first process
downloads and the others wait. A file appears in a cache only when it is
complete. Offline switches such as ``HF_HUB_OFFLINE`` are respected.
"""
import errno
import fnmatch
import hashlib
import json
import os
import os.path as osp
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlparse
from urllib.request import urlopen

import torch
from mmengine.dist import all_gather_object
from mmengine.fileio import load
from mmengine.logging import print_log

from mmdino.utils.names import suggest
from mmdino.utils.resources import resource
from mmdino.weights.keys import CheckpointError, name_keys


class PublishedModel(NamedTuple):
    """A published model of the authors of DINO or DINOv2, or one of ours."""
    name: str
    config: str | None  # None if the file holds the config of its network
    url: str | None  # of the authors' file, None if it is packaged
    sha256_prefix: str | None
    metrics: dict[str, float]  # reported results, in percent
    packaged: str | None = None  # path in the repository, if it is packaged

    @property
    def checkpoint(self) -> str:
        """Return the path of the packaged or of the converted file."""
        if self.packaged:
            folder, _, file = self.packaged.partition('/')
            return str(resource(folder) / file)
        return osp.join('checkpoints', f'{self.name}.pth')


def list_models(pattern: str = '*') -> list[PublishedModel]:
    """List the published models and those that come with mmdino.

    Args:
        pattern: Names to list, with the wildcards * and ?.
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


# An environment variable, so that child processes inherit it.
SWITCH = 'MMDINO_DOWNLOAD'
# Errors of a cache's folder: no permission, read-only, full.
FOLDER_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)
REMEDY = 'Give --download (in Python download=True) to have it downloaded'
WEIGHTS = ('model.safetensors', 'model.safetensors.index.json',
           'pytorch_model.bin')
BESIDE = ('config.json', 'preprocessor_config.json')


@contextmanager
def downloads_allowed() -> Iterator[None]:
    """Allow downloads in this process and those that it starts."""
    before = os.environ.get(SWITCH, '')
    os.environ[SWITCH] = '1'
    try:
        yield
    finally:
        os.environ[SWITCH] = before


def may_download() -> bool:
    """Return whether downloads are allowed."""
    return os.environ.get(SWITCH, '0') not in ('', '0')


def find_checkpoint(name: str) -> str:
    """Return the file of a checkpoint, downloaded if that is allowed.

    Args:
        name: As described in :mod:`mmdino.weights.sources`.

    Raises:
        FileNotFoundError: If there is no such file, or it would have to be
            downloaded and that is not allowed. The message says from where.
        CheckpointError: If a folder or a repository has no weights, or timm
            has no such model.
        RuntimeError: In every process, if a download failed in one.
    """
    if '://' in name:
        return _first_on_node(lambda: _fetch_url(name), name)
    source, _, rest = name.partition(':')
    if source == 'hf' and rest:
        return _first_on_node(lambda: _fetch_from_hub(name, rest), name)
    if source == 'timm' and rest:
        repo = _timm_repo(rest)
        return _first_on_node(lambda: _fetch_from_hub(name, repo), name)
    path = osp.expanduser(name)
    if osp.isdir(path):
        return _in_folder(path)
    if osp.isfile(path):
        return path
    published = next((m for m in list_models() if m.name == name), None)
    if published is None:
        folder = osp.dirname(path)
        beside = os.listdir(folder or '.') if osp.isdir(folder or '.') else []
        names = [m.name for m in list_models()]
        names += [osp.join(folder, file) for file in beside]
        raise FileNotFoundError(
            f'There is no checkpoint {name!r}.{suggest(name, names)} Training '
            'writes epoch_N.pth to its work dir; `mmdino models` lists the '
            'published ones; timm:NAME and hf:ORG/NAME name those of timm and '
            'of the Hugging Face hub.')
    return _published(published)


def shards_of(index: str) -> list[str]:
    """Return the paths of the files that a ``*.safetensors.index.json`` lists.

    Raises:
        CheckpointError: If it lists none, or one is not beside it.
    """
    with open(index) as file:
        names = sorted({*json.load(file).get('weight_map', {}).values()})
    folder = osp.dirname(index)
    missing = [n for n in names if not osp.isfile(osp.join(folder, n))]
    if missing or not names:
        raise CheckpointError(
            f'{index} lists {len(names)} files of weights' +
            (f', of which {name_keys(missing)} is not beside it' if missing
             else '') + ': download or copy the whole folder again.')
    return [osp.join(folder, name) for name in names]


def _in_folder(folder: str) -> str:
    for name in WEIGHTS:
        if osp.isfile(osp.join(folder, name)):
            return osp.join(folder, name)
    raise CheckpointError(
        f'The folder {folder} holds none of {", ".join(WEIGHTS)}: give the '
        'file itself. Training writes epoch_N.pth to its work dir.')


def _published(model: PublishedModel) -> str:
    """Return the converted or packaged file, else the authors' own file.

    The authors' own is looked for in, or downloaded to, torch.hub's cache.
    """
    if osp.isfile(model.checkpoint):
        return model.checkpoint
    if model.packaged:
        raise FileNotFoundError(
            f'This installation of mmdino lacks {model.checkpoint}, the '
            f'weights of {model.name}: install mmdino again, or use '
            f'{model.packaged} of the repository.')
    if not may_download() and not osp.isfile(_cached(model.url)):
        raise FileNotFoundError(
            f'There is neither {model.checkpoint} nor {_cached(model.url)}, '
            f"and nothing is downloaded unasked. {REMEDY}: the authors' "
            f'weights from {model.url}. Or put that file at the second path, '
            'or give a file of your own as checkpoint.')
    return _first_on_node(lambda: _fetch_url(model.url, model.sha256_prefix),
                          model.name)


def _first_on_node(fetch: Callable[[], str], name: str) -> str:
    """Call ``fetch`` in the first process of each node, then in the others.

    The others find the file in the cache. Nodes may share a cache, because a
    file appears there only when it is complete.
    """
    path, error = None, None
    # LOCAL_RANK is set by the launcher or by MMEngine.
    is_first = os.environ.get('LOCAL_RANK', '0') == '0'
    if is_first:
        try:
            path = fetch()
        except Exception as caught:
            # Raised below: the other processes wait for the result.
            error = caught
    errors = [e for e in all_gather_object(error and str(error)) if e]
    if error is not None:
        raise error
    if errors:
        raise RuntimeError(f'Another process could not get {name}: '
                           f'{errors[0]}')
    return path or fetch()


def _cached(url: str) -> str:
    """Return the path in torch.hub's cache of the file at an address.

    Published files have the name that torch.hub gives them. Any other name,
    such as epoch_100.pth, may exist at many addresses: a hash of the whole
    address stands before it.
    """
    name = osp.basename(urlparse(url).path)
    if url not in [model.url for model in list_models()]:
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:12]}_{name}'
    return osp.join(torch.hub.get_dir(), 'checkpoints', name)


def _fetch_url(url: str, sha256_prefix: str | None = None) -> str:
    path = _cached(url)
    if osp.isfile(path):
        return path
    print_log(f'Downloading {url} to {path}', logger='current')
    part = f'{path}.{uuid.uuid4().hex}'  # renamed when it is complete
    try:
        os.makedirs(osp.dirname(path), exist_ok=True)
        torch.hub.download_url_to_file(url, part, sha256_prefix)
        _check_length(url, part)
        os.replace(part, path)
    except Exception as error:
        remedy = 'Try again, or download the file to that path yourself.'
        if 'invalid hash' in str(error):
            remedy = ('The file at that address is not the published one, or '
                      'was changed on the way: do not use it. Compare the '
                      'SHA-256 of a file that you trust with model-index.yml, '
                      'and put it at that path.')
        raise _failed(f'{url} to {path}', error, 'TORCH_HOME',
                      remedy) from error
    finally:
        if osp.isfile(part):
            os.remove(part)
    return path


def _check_length(url: str, path: str) -> None:
    """Raise an error if a file is shorter than its server says.

    torch.hub treats a transfer that was interrupted as complete.
    """
    try:
        with urlopen(url, timeout=10) as response:
            length = response.headers.get('Content-Length')
    except OSError:  # the download has succeeded: only the length is unknown
        return
    if length is not None and int(length) != osp.getsize(path):
        raise OSError(f'the transfer broke off after {osp.getsize(path)} of '
                      f'{length} bytes')


def _failed(what: str, error: Exception, setting: str,
            remedy: str) -> RuntimeError:
    """Return an error of one line with the cause and the remedy.

    Args:
        what: What could not be downloaded.
        error: The cause.
        setting: The environment variable that names the cache.
        remedy: The remedy, unless the cause is the folder of the cache.
    """
    if getattr(error, 'errno', None) in FOLDER_ERRORS:
        remedy = (f'The cache cannot be written: set {setting}=FOLDER to use '
                  'another folder.')
    cause = ' '.join(str(error).split()).rstrip('.')
    return RuntimeError(f'Could not download {what}: '
                        f'{type(error).__name__}: {cause}. {remedy}')


def _timm_repo(model: str) -> str:
    """Return the repository of timm's weights on the Hugging Face hub."""
    import timm
    try:
        cfg = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        raise CheckpointError(f'timm:{model}: {error}') from error
    if cfg is None or not cfg.hf_hub_id:
        similar = timm.list_pretrained(f'{model.partition(".")[0]}*')[:5]
        raise CheckpointError(
            f'timm has no weights on the hub for {model!r}; it has {similar}, '
            'and timm.list_pretrained() lists all.')
    return cfg.hf_hub_id


def _fetch_from_hub(name: str, repo: str) -> str:
    """Fetch weights, all shards of them, and the two config files."""
    from huggingface_hub import (_CACHED_NO_EXIST, constants, hf_hub_download,
                                 try_to_load_from_cache)
    from huggingface_hub.errors import (EntryNotFoundError,
                                        LocalEntryNotFoundError)
    repo, _, revision = repo.partition('@')

    offline = constants.HF_HUB_OFFLINE

    def get(file: str) -> str | None:
        """Return the path of a file, None if it does not exist.

        Without downloads, None if it is not in the cache.
        """
        cached = try_to_load_from_cache(repo, file, revision=revision or None)
        if offline or not may_download():  # no request to the hub
            return cached if isinstance(cached, str) else None
        try:
            return hf_hub_download(repo, file, revision=revision or None)
        except LocalEntryNotFoundError:  # the hub cannot be reached
            if cached is _CACHED_NO_EXIST:
                return None
            raise
        except EntryNotFoundError:
            return None

    try:
        path = next(filter(None, map(get, WEIGHTS)), None)
        if path and path.endswith('.index.json'):
            with open(path) as file:
                shards = {*json.load(file)['weight_map'].values()}
            if None in [*map(get, sorted(shards))]:
                path = None
        for file in BESIDE if path else ():
            get(file)
        if not path and offline and may_download():
            raise LocalEntryNotFoundError('it is not, or not whole, in the '
                                          f'cache {constants.HF_HUB_CACHE}')
    except Exception as error:  # from huggingface_hub or its HTTP library
        raise _failed(f'{name} from the Hugging Face hub', error, 'HF_HOME',
                      _hub_remedy(error, repo)) from error
    if not path:
        if may_download():
            raise CheckpointError(f'The repository {repo} of {name} holds '
                                  f'none of {", ".join(WEIGHTS)}.')
        raise FileNotFoundError(
            f'{name} is not, or not whole, in the cache of huggingface_hub, '
            f'and nothing is downloaded unasked. {REMEDY}: {repo}'
            f'{revision and f" at {revision}"} from the Hugging Face hub.')
    return path


def _hub_remedy(error: Exception, repo: str) -> str:
    """Return the remedy for an error of the hub or of the connection."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (RepositoryNotFoundError,
                                        RevisionNotFoundError)
    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if constants.HF_HUB_OFFLINE:
        return ('HF_HUB_OFFLINE is set: unset it, or run `hf download '
                f'{repo}` where there is a network and copy the cache.')
    if isinstance(error, RevisionNotFoundError):
        return 'Check the revision after the @.'
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return ('Check the name. If the repository is gated or private, '
                f'accept its licence at {constants.ENDPOINT}/{repo} and log '
                'in with `hf auth login` or HF_TOKEN=TOKEN.')
    return ('Try again, which continues where the download broke off, or run '
            f'`hf download {repo}` on a machine with a connection and copy '
            'the cache.')
