from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from PIL import Image

from mmdino.apis import (AttentionVisualizer, FeatureExtractor, get_model,
                         list_images, list_models)
from mmdino.datasets import Images
from mmdino.weights import (CheckpointError, convert, load_checkpoint,
                            save_checkpoint)
from tests.tiny import model_cfg
from tests.weights import states


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, checkpoints and five images, the last one smaller."""
    root = tmp_path_factory.mktemp('apis')
    cfg = Config(dict(model=model_cfg(), default_scope='mmdino'))
    cfg.dump(root / 'tiny.py')
    for name, state in (('lone', states.vit()), ('full',
                                                 states.full(states.vit(),
                                                             24))):
        save_checkpoint(
            convert(state, 'official', 'mmdino'), str(root / f'{name}.pth'))
    (root / 'images/b').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, side in zip(('a', 'b/c', 'd', 'e', 'f'), (40, 48, 50, 60, 34)):
        pixels = rng.integers(0, 256, (side, side + 3, 3), np.uint8)
        Image.fromarray(pixels).save(root / f'images/{name}.png')
    return root


@pytest.mark.parametrize('name', ['lone', 'full'])
def test_features(folder, name):
    extract = FeatureExtractor(
        str(folder / 'tiny.py'), str(folder / f'{name}.pth'), 'cpu', 2)
    features = extract(folder / 'images')
    assert features.shape == (5, 24) and features.dtype == torch.float32
    # what the data set and the model give
    pipeline = [
        dict(type='mmdino.LoadImage'),
        dict(type='mmdino.CenterView', size=32),
        dict(type='mmpretrain.PackInputs')
    ]
    dataset = Images(str(folder / 'images'), pipeline=pipeline)
    items = [dataset[i] for i in range(len(dataset))]
    samples = extract.model.test_step(default_collate(items))
    expected = torch.stack([sample.feature for sample in samples])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@pytest.fixture
def url(folder):
    """The folder, served on this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_every_kind_of_image_gives_the_same(folder, url):
    extract = FeatureExtractor(
        str(folder / 'tiny.py'), str(folder / 'lone.pth'), 'cpu')
    path = folder / 'images/a.png'
    picture = Image.open(path)
    kinds = [
        path,
        str(path), f'{url}/images/a.png', picture,
        np.asarray(picture),
        picture.convert('RGBA')
    ]
    features = extract(kinds)
    assert torch.equal(features, features[:1].expand_as(features))


def test_attention(folder):
    look = AttentionVisualizer(
        str(folder / 'tiny.py'), str(folder / 'lone.pth'), 'cpu')
    maps = look(folder / 'images')
    assert [m.shape for m in maps] == [(3, 4, 4)] * 5
    assert all((m.sum((1, 2)) < 1).all() for m in maps)
    look.draw(folder / 'images/a.png', str(folder / 'out.png'))
    assert Image.open(folder / 'out.png').size[0] > 100


@pytest.mark.parametrize('what', ['patches', 'tokens'])
def test_attention_is_not_of_patches(folder, what):
    with pytest.raises(ValueError, match=f"takes no what='{what}': leave it"):
        AttentionVisualizer(
            str(folder / 'tiny.py'),
            str(folder / 'lone.pth'),
            'cpu',
            what=what)


def test_the_published_models():
    models = [model for model in list_models() if not model.packaged]
    assert len(models) == 17
    for model in models:
        assert model.url.startswith('https://')
        knn = model.metrics['k-NN top-1, %']
        if model.config is None:  # the file tells its network
            assert model.name.startswith('dinov2_')
            continue
        cfg = Config.fromfile(model.config)
        assert f'k-NN {knn}' in ' '.join(
            open(cfg.filename).read().replace('#', '').split())
    assert [m.name
            for m in list_models('dino_xcit-s12-p?')] == ['dino_xcit-s12-p8']


def test_a_published_model_without_a_config(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(
            FileNotFoundError,
            match='Give --download.*/dinov2_vits14_reg4_pretrain.pth'):
        get_model('dinov2_vit-s14_reg4')
    cached = tmp_path / 'hub/checkpoints/dinov2_vits14_reg4_pretrain.pth'
    cached.parent.mkdir(parents=True)
    torch.save(states.dinov2('registers'), cached)
    model = get_model('dinov2_vit-s14_reg4', device='cpu', num_heads=3)
    assert model.backbone.num_registers == 4
    assert model.backbone.pos_embed_mode == 'antialias'
    patches = FeatureExtractor(model, what='patches', size=32)
    assert patches(str(folder / 'images/a.png'))[0].shape[-1] == 24


def test_a_packaged_model(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # wherever one is
    model, = list_models('dino_cifar10')
    assert Path(model.checkpoint).stat().st_size < 6e6
    extract = FeatureExtractor(model.name, device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    features = extract([image, image[::-1]])
    assert features.shape == (2, 256) and features.isfinite().all()
    assert not torch.equal(features[0], features[1])
    # By the config as well, which is checked against the file.
    assert get_model(model.config, model.checkpoint, 'cpu')


def test_a_packaged_model_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr('mmdino.weights.sources.resource', tmp_path.joinpath)
    (tmp_path / 'model-index.yml').write_text(
        'Models: [{Name: mine, Config: a.py, Weights: configs/mine.pth, '
        'Results: []}]')
    with pytest.raises(FileNotFoundError, match='lacks .*mine.pth'):
        get_model('mine')


def test_absent_files(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
            FileNotFoundError, match='Give --download.*https://.*deitsmall'):
        get_model('dino_vit-s16')
    with pytest.raises(ValueError, match='give the checkpoint'):
        get_model(str(folder / 'tiny.py'))
    with pytest.raises(FileNotFoundError, match="no config 'dino_vit-s15'"):
        get_model('dino_vit-s15', str(folder / 'lone.pth'))


@pytest.mark.parametrize('name, message', [
    ('work_dirs/run/epoch_100.pth', "no checkpoint 'work_dirs/run/epoch_100"),
    ('epoch_10.safetensors', r"no checkpoint .*mean 'epoch_1.safetensors'"),
    ('dino_vit-s15', r"no checkpoint .*mean 'dino_vit-s"),
    ('nowhere.py', "no config 'nowhere.py'"),
])
def test_what_is_missing_is_said(name, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'epoch_1.safetensors').touch()
    for given in (name, Path(name)):
        with pytest.raises(FileNotFoundError, match=message):
            get_model(given)


def test_paths_and_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder))
    config = folder / 'tiny.py'
    wanted = get_model(config, folder / 'lone.pth', 'cpu').state_dict()
    found = get_model('~/tiny.py', '~/lone.pth', 'cpu').state_dict()
    assert all(weight.equal(found[name]) for name, weight in wanted.items())
    with pytest.raises(ValueError, match='tiny.py.* is a config'):
        get_model(config)


def test_weights_of_another_model(folder, tmp_path):
    path = str(tmp_path / 'xcit.pth')
    save_checkpoint(convert(states.xcit(), 'timm', 'mmdino'), path)
    with pytest.raises(CheckpointError, match='does not fit'):
        get_model(str(folder / 'tiny.py'), path)


@pytest.mark.parametrize('images, error, message', [
    ([], ValueError, 'no image'),
    ('nowhere.jpg', FileNotFoundError, "no image 'nowhere.jpg'"),
    ([3], TypeError, 'got int'),
    (3, TypeError, 'got int'),
    (None, TypeError, 'got NoneType'),
    (b'JFIF', TypeError, 'got bytes'),
    (torch.zeros(3, 8, 8), TypeError, r'got Tensor.* image.permute\(1, 2, 0'),
    ([torch.zeros(3, 8, 8)], TypeError, 'got Tensor'),
    (np.zeros(
        (2, 8, 8, 3), np.uint8), ValueError, 'Give several images as a list'),
])
def test_bad_images(images, error, message):
    with pytest.raises(error, match=message):
        list_images(images)


def test_a_checkpoint_may_hold_its_config(folder):
    state = load_checkpoint(str(folder / 'full.pth'))
    text = Config.fromfile(folder / 'tiny.py').pretty_text
    kept = folder / 'kept.pth'
    state = state.get('state_dict', state)
    torch.save(dict(state_dict=state, meta=dict(cfg=text)), kept)
    model = get_model(checkpoint=str(kept), device='cpu')
    wanted = get_model(
        str(folder / 'tiny.py'), str(folder / 'full.pth'), 'cpu')
    for name, weight in model.state_dict().items():
        assert weight.equal(wanted.state_dict()[name])
