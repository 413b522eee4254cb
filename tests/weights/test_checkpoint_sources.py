"""Checkpoints that are named by where they come from.

A server on the loopback stands for the Hugging Face hub and for any other.
"""
import errno
import hashlib
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from mmdino.apis import FeatureExtractor, get_model
from mmdino.weights import (CheckpointError, convert_file, downloads_allowed,
                            find_checkpoint, load_checkpoint, open_weights)
from mmdino.weights.sources import PublishedModel
from tests.ranks import run_ranks
from tests.weights import states

COMMIT = 'c' * 40
PROXIES = ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY',
           'ALL_PROXY', 'all_proxy')


class Hub(BaseHTTPRequestHandler):
    """ORG/NAME/resolve/REVISION/FILE of a folder, as the hub serves it."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        self.server.asked.append(f'{self.command} {self.path}')
        path = self.path.partition('?')[0].lstrip('/')
        if 'gated' in path:
            self.send_response(403)
            self.send_header('X-Error-Code', 'GatedRepo')
            self.end_headers()
            return
        repo, _, rest = path.partition('/resolve/')
        file = self.server.folder / repo / rest.partition('/')[2]
        if not rest:
            file = self.server.folder / path
        found = file.is_file()
        self.send_response(200 if found else 404)
        if not found:
            known = (self.server.folder / repo).is_dir()
            self.send_header('X-Error-Code',
                             'EntryNotFound' if known else 'RepoNotFound')
        data = file.read_bytes() if found else b''
        self.send_header('X-Repo-Commit', COMMIT)
        self.send_header('ETag', f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        if with_body:
            cut = len(data) // 2 if self.server.breaks else len(data)
            self.wfile.write(data[:cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The server, whose folder is empty, and empty caches."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.folder, server.asked, server.breaks = tmp_path / 'hub', [], False
    server.folder.mkdir()
    address = f'http://127.0.0.1:{server.server_port}'
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv('MMDINO_DOWNLOAD', raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'ENDPOINT', address)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
                        address + '/{repo_id}/resolve/{revision}/{filename}')
    impatient = SimpleNamespace(**{**vars(time), 'sleep': lambda _: None})
    monkeypatch.setattr('huggingface_hub.utils._http.time', impatient)
    server.address = address
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def vit_of_transformers(folder):
    """Its files, converted from the authors' names; the same in our names."""
    folder.mkdir(parents=True)
    torch.save(states.vit(), folder / 'official.pth')
    convert_file(
        str(folder / 'official.pth'),
        str(folder / 'model.safetensors'),
        'official',
        'hf',
        num_heads=states.NUM_HEADS)
    return open_weights(str(folder / 'official.pth')).state


def split(folder):
    """Into two shards and an index, as large models are saved."""
    tensors = load_checkpoint(str(folder / 'model.safetensors'))
    tensors = tensors.get('state_dict', tensors)
    names, shards = sorted(tensors), {}
    for i in range(2):
        shard = f'model-0000{i + 1}-of-00002.safetensors'
        part = {k: tensors[k].contiguous() for k in names[i::2]}
        save_file(part, folder / shard)
        shards.update(dict.fromkeys(part, shard))
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps(dict(metadata={}, weight_map=shards)))
    (folder / 'model.safetensors').unlink()


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


@pytest.mark.parametrize('sharded', [False, True])
def test_from_the_hub(sharded, hub):
    expected = vit_of_transformers(hub.folder / 'org/name')
    if sharded:
        split(hub.folder / 'org/name')
    with pytest.raises(FileNotFoundError, match='Give --download.*org/name'):
        open_weights('hf:org/name')
    assert not hub.asked
    with downloads_allowed():
        assert_same(open_weights('hf:org/name').state, expected)
    hub.asked.clear()
    weights = open_weights('hf:org/name')  # from the cache
    assert weights.format == 'hf' and not hub.asked
    assert Path(weights.path).with_name('config.json').exists()


def test_a_folder_of_transformers(tmp_path):
    expected = vit_of_transformers(tmp_path / 'vit')
    assert_same(open_weights(str(tmp_path / 'vit')).state, expected)
    split(tmp_path / 'vit')
    assert_same(open_weights(str(tmp_path / 'vit')).state, expected)
    (tmp_path / 'vit/model-00002-of-00002.safetensors').unlink()
    with pytest.raises(CheckpointError, match='model-00002-of.*not beside'):
        open_weights(str(tmp_path / 'vit'))
    with pytest.raises(CheckpointError, match='holds none of model.safe'):
        open_weights(str(tmp_path))


def test_a_shard_that_is_damaged(tmp_path):
    vit_of_transformers(tmp_path / 'vit')
    split(tmp_path / 'vit')
    os.truncate(tmp_path / 'vit/model-00001-of-00002.safetensors', 1000)
    with pytest.raises(CheckpointError, match='00001-of.*is damaged'):
        open_weights(str(tmp_path / 'vit'))


def test_a_revision(hub):
    vit_of_transformers(hub.folder / 'org/name')
    with downloads_allowed():
        open_weights('hf:org/name@v2')
    assert all('/resolve/v2/' in line for line in hub.asked)
    open_weights('hf:org/name@v2')
    with pytest.raises(FileNotFoundError, match='whole, in the cache'):
        open_weights('hf:org/name')


def test_a_download_that_breaks_off_leaves_nothing(hub):
    vit_of_transformers(hub.folder / 'org/name')
    hub.breaks = True
    with downloads_allowed(), pytest.raises(RuntimeError, match='hf:org/name'):
        find_checkpoint('hf:org/name')
    with pytest.raises(FileNotFoundError, match='Give --download'):
        find_checkpoint('hf:org/name')
    hub.breaks = False
    with downloads_allowed():
        open_weights('hf:org/name')


def test_a_shard_that_is_not_yet_there(hub):
    vit_of_transformers(hub.folder / 'org/name')
    split(hub.folder / 'org/name')
    second = hub.folder / 'org/name/model-00002-of-00002.safetensors'
    data = second.read_bytes()
    second.unlink()
    with downloads_allowed(), pytest.raises(CheckpointError, match='org/name'):
        find_checkpoint('hf:org/name')
    with pytest.raises(FileNotFoundError, match='not whole'):
        find_checkpoint('hf:org/name')
    second.write_bytes(data)
    with downloads_allowed():
        open_weights('hf:org/name')


@pytest.mark.parametrize('name,error,words', [
    ('hf:org/none', RuntimeError, 'hf:org/none.*RepositoryNotFound'),
    ('hf:org/empty', CheckpointError, 'holds none of model.safetensors'),
    ('timm:vit_small_patch14_dinov9', CheckpointError, 'dinov9'),
    ('nothing', FileNotFoundError, "no checkpoint 'nothing'.*timm:NAME"),
])
def test_names_of_nothing(name, error, words, hub):
    (hub.folder / 'org/empty').mkdir(parents=True)
    with downloads_allowed(), pytest.raises(error, match=words):
        find_checkpoint(name)


def test_timm(hub):
    """With the config.json that timm puts beside its weights."""
    import timm
    name = 'resnet18'
    model = timm.create_model(name)
    repo = hub.folder / timm.get_pretrained_cfg(name).hf_hub_id
    timm.models.save_for_hf(model, repo)
    with pytest.raises(FileNotFoundError, match='Give --download.*timm/resne'):
        get_model(f'timm:{name}')
    teacher = get_model(f'timm:{name}', device='cpu', download=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.eval().forward_head(
            model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(teacher.features(images), expected)
    hub.asked.clear()
    FeatureExtractor(f'timm:{name}')
    assert not hub.asked


def test_a_published_model(hub, monkeypatch):
    path = hub.folder / 'dino_vits.pth'
    torch.save(states.vit(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def publish(sha256_prefix):
        model = PublishedModel('dino_vit-x', 'configs/dino_vit-s16.py',
                               f'{hub.address}/dino_vits.pth', sha256_prefix,
                               {})
        monkeypatch.setattr('mmdino.weights.sources.list_models',
                            lambda: [model])

    publish('0' * 8)
    with pytest.raises(FileNotFoundError, match='neither.*Give --download'):
        open_weights('dino_vit-x')
    with downloads_allowed(), pytest.raises(RuntimeError, match='hash'):
        open_weights('dino_vit-x')
    publish(digest[:8])
    with downloads_allowed():
        weights = open_weights('dino_vit-x')
    assert weights.format == 'official'
    hub.asked.clear()
    open_weights('dino_vit-x')
    assert not hub.asked


def test_offline(hub, monkeypatch):
    vit_of_transformers(hub.folder / 'org/name')
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    with downloads_allowed(), pytest.raises(RuntimeError, match='LocalEntry'):
        find_checkpoint('hf:org/name')
    assert not hub.asked


def message(name):
    """What is said of a checkpoint that cannot be downloaded: one line."""
    with downloads_allowed(), pytest.raises(RuntimeError) as caught:
        find_checkpoint(name)
    text = str(caught.value)
    assert text.startswith('Could not download ') and '\n' not in text
    assert len(text) < 800
    return text


def test_an_address_that_breaks_off_leaves_nothing(hub, tmp_path):
    """torch.hub takes half of a file for all of it."""
    torch.save(states.vit(), hub.folder / 'x.pth')
    hub.breaks = True
    text = message(f'{hub.address}/x.pth')
    assert 'broke off after' in text and 'Try again' in text
    assert not [*(tmp_path / 'torch').rglob('*.pth*')]
    hub.breaks = False
    assert open_weights(f'{hub.address}/x.pth').format == 'official'


def test_one_file_name_at_several_addresses(hub):
    for value, place in enumerate('ab'):
        (hub.folder / place).mkdir()
        state = {k: torch.full_like(v, value) for k, v in states.vit().items()}
        save_file(state, hub.folder / place / 'x.safetensors')
    with downloads_allowed():
        paths = [
            find_checkpoint(f'{hub.address}/{rest}')
            for rest in ('a/x.safetensors', 'b/x.safetensors',
                         'b/x.safetensors?download=true')
        ]
    read = [load_checkpoint(path)['cls_token'].unique() for path in paths]
    assert [value.tolist() for value in read] == [[0], [1], [1]]
    assert all(path.endswith('_x.safetensors') for path in paths)
    hub.asked.clear()
    assert find_checkpoint(f'{hub.address}/a/x.safetensors') == paths[0]
    assert not hub.asked


def test_every_failure_says_what_to_do(hub, monkeypatch, tmp_path):
    assert 'accept its licence at http' in message('hf:gated/name')
    assert 'hf auth login' in message('hf:org/none')
    assert '404' in message(f'{hub.address}/none.pth')
    vit_of_transformers(hub.folder / 'org/name')
    hub.breaks = True
    assert 'where the download broke off' in message('hf:org/name')
    hub.breaks = False
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert 'HF_HUB_OFFLINE is set: unset it' in message('hf:org/name')
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:1')
    monkeypatch.setattr(
        constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
        'http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}')
    assert 'Try again' in message('hf:org/name')
    assert 'Try again' in message('http://127.0.0.1:1/x.pth')


@pytest.mark.parametrize('number', [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written(number, hub, monkeypatch):

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number), '/cache')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', refuse)
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', refuse)
    assert 'TORCH_HOME=FOLDER' in message(f'{hub.address}/x.pth')
    assert 'HF_HOME=FOLDER' in message('hf:org/name')


def test_a_wrong_hash_is_said_and_leaves_nothing(hub, monkeypatch, tmp_path):
    torch.save(states.vit(), hub.folder / 'x.pth')
    model = PublishedModel('dino_vit-x', None, f'{hub.address}/x.pth', '0' * 8,
                           {})
    monkeypatch.setattr('mmdino.weights.sources.list_models', lambda: [model])
    assert 'do not use it. Compare the SHA-256' in message('dino_vit-x')
    assert not [*(tmp_path / 'torch').rglob('*.pth*')]


def test_offline_with_a_cache(hub, monkeypatch):
    """Also of files that the repository is known not to have."""
    expected = vit_of_transformers(hub.folder / 'org/name')
    (hub.folder / 'org/name/preprocessor_config.json').unlink()
    with downloads_allowed():
        open_weights('hf:org/name')
        monkeypatch.setattr(
            constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
            'http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}')
        assert_same(open_weights('hf:org/name').state, expected)
        monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
        assert_same(open_weights('hf:org/name').state, expected)


def fetch(rank, folder, node_of):
    """Two processes, each alone on its node or together on one."""
    os.environ['TORCH_HOME'] = str(folder / f'node{node_of[rank]}')
    os.environ['LOCAL_RANK'] = str(node_of[:rank].count(node_of[rank]))
    own = Path(folder, 'downloads')

    def write(url, path, sha256_prefix):
        with open(own, 'a') as file:
            file.write(f'{rank}\n')
        Path(path).write_text(url)

    torch.hub.download_url_to_file = write
    for _ in range(2):  # the second time it is there
        path = find_checkpoint('https://example.org/weights.pth')
        assert Path(path).read_text() == 'https://example.org/weights.pth'


@pytest.mark.parametrize('node_of,downloads', [('00', '0'), ('01', '01')])
def test_once_on_each_node(node_of, downloads, tmp_path):
    run_ranks(fetch, tmp_path, node_of)
    assert sorted((tmp_path / 'downloads').read_text().split()) == [*downloads]


def fetch_from_hub(rank, folder):
    """The first downloads, the other one finds it in the cache."""
    os.environ.update(LOCAL_RANK=str(rank), MMDINO_DOWNLOAD='1')
    asked = Path(folder, 'asked')

    def download(repo, file, revision):
        path = Path(folder, file)
        if file == 'model.safetensors' and not path.exists():
            with open(asked, 'a') as log:
                log.write(f'{rank}\n')
            path.touch()
        return str(path)

    huggingface_hub.hf_hub_download = download
    assert find_checkpoint('hf:org/name') == str(
        Path(folder, 'model.safetensors'))


def test_the_hub_is_asked_by_one_process(tmp_path):
    run_ranks(fetch_from_hub, tmp_path)
    assert (tmp_path / 'asked').read_text().split() == ['0']


def fail(rank, folder):
    os.environ.update(TORCH_HOME=str(folder), LOCAL_RANK=str(rank))

    def refuse(url, path, sha256_prefix):
        raise OSError('no route to host')

    torch.hub.download_url_to_file = refuse
    with pytest.raises(
            RuntimeError, match='OSError: no route to host.*download'):
        find_checkpoint('https://example.org/weights.pth')


def test_no_process_waits_for_one_that_failed(tmp_path):
    run_ranks(fail, tmp_path)
