"""Several sources in one data set; what listing says of the rest."""
import tarfile
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmdino.apis import FeatureExtractor
from mmdino.datasets import ConcatDataset, Images
from mmdino.datasets.listing import image_extensions, list_folder
from mmdino.datasets.sources import open_source
from mmdino.engine.configs import read_config
from mmdino.registry import DATASETS

PIPELINE = [dict(type='LoadImage'), dict(type='mmpretrain.PackInputs')]


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """What is logged of listing and joining."""
    logged = []
    for module in ('listing', 'composed'):
        monkeypatch.setattr(f'mmdino.datasets.{module}.print_log',
                            lambda message, **kwargs: logged.append(message))
    return logged


def fill(folder: Path, classes: str, count: int = 2) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            img = np.full((9, 9, 3), ord(name), np.uint8)
            Image.fromarray(img).save(folder / name / f'{i}.png')
    return folder


def labels(dataset) -> list:
    return [
        dataset.get_data_info(i).get('gt_label') for i in range(len(dataset))
    ]


@pytest.fixture
def sources(tmp_path) -> list[str]:
    """A folder of a and b, an archive of b and c."""
    fill(tmp_path / 'one', 'ab')
    fill(tmp_path / 'two', 'bc')
    with ZipFile(tmp_path / 'two.zip', 'w') as archive:
        for path in (tmp_path / 'two').rglob('*.png'):
            archive.write(path, path.relative_to(tmp_path / 'two'))
    return [str(tmp_path / 'one'), str(tmp_path / 'two.zip')]


def test_folders_and_archives_share_their_classes(sources):
    dataset = Images(sources, pipeline=PIPELINE)
    assert dataset.CLASSES == ('a', 'b', 'c')
    assert labels(dataset) == [0, 0, 1, 1, 1, 1, 2, 2]
    values = [int(dataset[i]['inputs'].max()) for i in range(8)]
    assert values == [ord(c) for c in 'aabbbbcc']
    with pytest.raises(ValueError, match=r"folders \['c'\], which are not"):
        Images(sources, classes=['a', 'b'])
    assert labels(Images(sources, with_label=False)) == 8 * [None]
    assert labels(Images(sources, images_per_class=1)) == [0, 1, 2]


def test_labels_of_lists_and_of_folders_do_not_mix(sources, tmp_path):
    (tmp_path / 'list.txt').write_text('one/a/0.png 5\ntwo/c/0.png 7\n')
    mixed = [*sources, str(tmp_path / 'list.txt')]
    assert labels(Images(mixed)) == 10 * [None]
    with pytest.raises(ValueError, match='some sources have integer labels'):
        Images(mixed, with_label=True)
    assert labels(Images(mixed[2:] * 2)) == [5, 7, 5, 7]


def test_a_source_that_is_empty_or_missing_is_named(sources, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(
            ValueError, match='no image in .*empty; the extensions'):
        Images([*sources, str(tmp_path / 'empty')])
    with pytest.raises(FileNotFoundError, match='nowhere.*does not exist'):
        Images([*sources, str(tmp_path / 'nowhere')])
    with pytest.raises(ValueError, match='empty list'):
        Images([])


def test_sources_read_what_they_list(sources):
    for root in sources:
        source = open_source(root)
        assert len(source) == 4
        assert source.read(0).startswith(b'\x89PNG')


def test_tar_files_mix_with_others(sources, tmp_path):
    pytest.importorskip('mmdino.datasets.shards')
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        archive.add(tmp_path / 'two/c/0.png', 'k.png')
    dataset = Images([*sources, str(tmp_path / 'x.tar')], pipeline=PIPELINE)
    assert int(dataset[8]['inputs'].max()) == ord('c')


def test_concatenated_sets_with_other_classes(sources, messages):
    parts = [
        dict(type='Images', data_root=root, pipeline=PIPELINE)
        for root in sources
    ]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    assert isinstance(dataset, ConcatDataset) and len(dataset) == 8
    assert 'their labels are left out' in messages[-1]
    assert 'classes' not in dataset.metainfo
    for i in (0, 5):
        sample = dataset[i]['data_samples']
        assert sample.sample_idx == i and 'gt_label' not in sample
    same = ConcatDataset([parts[0], parts[0]])
    assert labels(same) == [0, 0, 1, 1] * 2
    assert same.metainfo['classes'] == ('a', 'b')
    assert int(same[7]['data_samples'].gt_label) == 1


def test_broken_pictures_of_concatenated_sets(sources, tmp_path):
    (tmp_path / 'one/b/0.png').write_bytes(b'')
    dataset = ConcatDataset([
        dict(type='Images', data_root=root, pipeline=PIPELINE)
        for root in sources
    ])
    sample = dataset[2]['data_samples']
    assert sample.sample_idx == 2
    assert sample.unreadable.endswith('one/b/0.png')
    assert 'unreadable' not in dataset[3]['data_samples']
    assert dataset.unreadable.nonzero().flatten().tolist() == [2]


def test_listing_says_once_what_it_leaves_out(tmp_path, messages):
    for name in ('a.jpg', 'b.JFIF', 'c.gif', 'd.jpe', 'e.npy', 'f.HEIC',
                 'g.heic', 'h.txt', 'readme', '.hidden.heic', 'i.dng'):
        (tmp_path / name).touch()
    for _ in range(2):
        names = list_folder(tmp_path)
    assert names == ['a.jpg', 'b.JFIF', 'c.gif', 'd.jpe', 'e.npy']
    message, = messages
    assert '5 images; 5 other files are left out: 2 .heic' in message
    for kind in ('1 .txt', '1 without extension', '1 .dng'):
        assert kind in message
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        for name in ('x.png', 'y.heic', 'folder/'):
            archive.writestr(name, b'')
    assert len(open_source(str(tmp_path / 'a.zip'))) == 1
    assert '1 images; 1 other files are left out: 1 .heic' in messages[-1]


def test_endings_are_those_that_are_read(monkeypatch):
    extensions = image_extensions()
    for name in ('.jfif', '.jpe', '.gif', '.npy', '.webp'):
        assert name in extensions
    assert ('.avif' in extensions) == ('.avif'
                                       in Image.registered_extensions())
    monkeypatch.setattr(Image, 'registered_extensions',
                        lambda: {'.heic': 'HEIF'})
    assert '.heic' in image_extensions()  # once pillow-heif is registered
    assert '.avif' not in image_extensions()
    monkeypatch.setattr('mmdino.datasets.listing.features.check',
                        lambda name: False)
    assert '.jp2' not in image_extensions()


CHANNELS = {1: np.uint8, 4: np.uint16, 10: np.float32}


@pytest.mark.parametrize('channels', CHANNELS)
def test_a_recipe_for_any_channels_is_trained_and_measured(tmp_path, channels):
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i, name in enumerate('ab'):
            (tmp_path / split / name).mkdir(parents=True)
            for n in range(4):
                img = rng.random((40, 44, channels)) * 100 + 100 * i
                np.save(tmp_path / split / name / f'{n}.npy',
                        img.astype(CHANNELS[channels]))
    text = Path('configs/quickstart/dino_vit-tiny_channels.py').read_text()
    text = text.replace("'../_base_", f"'{Path.cwd()}/configs/_base_")
    text = text.replace('_channels = 10', f'_channels = {channels}')
    (tmp_path / 'own.py').write_text(
        text.replace('_size = 64', '_size = 32').replace('[1000.]', '[150.]'))
    overrides = {
        'data_root': str(tmp_path),
        'model.head.out_dim': 16,
        'model.head.hidden_channels': 16,
        'param_scheduler.warmup_epochs': 0,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'work_dir': str(tmp_path / 'run')
    }
    for loader in ('train_dataloader', 'val_dataloader',
                   'val_cfg.gallery_dataloader'):
        overrides.update({
            f'{loader}.batch_size': 4,
            f'{loader}.num_workers': 0,
            f'{loader}.pin_memory': False
        })
    cfg = read_config(str(tmp_path / 'own.py'), overrides)
    cfg.experiment_name = f'channels_{channels}'
    runner = Runner.from_cfg(Config(cfg.to_dict()))
    runner.train()
    top = runner.message_hub.get_scalar('val/knn/k20_top1').current()
    assert 0 <= top <= 100
    extract = FeatureExtractor(str(tmp_path / 'run/epoch_1.pth'), device='cpu')
    path = tmp_path / 'val/a/0.npy'
    by_path, by_array = extract([str(path), np.load(path)])
    np.testing.assert_allclose(by_path, by_array, atol=1e-5)


def test_a_share_of_each_class_is_held_out(tmp_path):
    fill(tmp_path, 'a', 10)
    fill(tmp_path, 'b', 4)
    images = dict(type='Images', data_root=str(tmp_path), with_label=True)
    held_out, rest = (
        DATASETS.build(
            dict(type='HeldOut', dataset=images, share=.3, rest=rest))
        for rest in (False, True))
    names = [[part.get_data_info(i)['img_path'] for i in range(len(part))]
             for part in (held_out, rest)]
    assert [len(part) for part in names] == [4, 10]
    assert sum('/a/' in name for name in names[0]) == 3
    assert len({*names[0], *names[1]}) == 14
    assert held_out.metainfo['classes'] == rest.metainfo['classes']
    kept = [held_out[i]['sample_idx'] for i in range(len(held_out))]
    assert kept == [*range(len(held_out))]
    with pytest.raises(ValueError, match='no labels, and HeldOut takes'):
        DATASETS.build(
            dict(type='HeldOut', dataset=dict(images, with_label=False)))
    with pytest.raises(ValueError, match='Nothing is left of 14 images'):
        DATASETS.build(
            dict(type='HeldOut', dataset=images, share=1., rest=True))
