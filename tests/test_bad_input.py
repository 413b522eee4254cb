"""Hostile files, names, archives and settings: a result or a clear error."""
import io
import os
import string
import struct
import zlib
from pathlib import Path
from zipfile import ZipFile

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import Runner
from PIL import Image

from mmdino.datasets import Images, MultiCrop
from mmdino.datasets.transforms import LoadImage, UnreadableImageError
from mmdino.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from tests.tiny import runner_cfg

hypothesis.settings.register_profile(
    'here', deadline=None, derandomize=True, max_examples=40, database=None)
hypothesis.settings.load_profile('here')

PIPELINE = [dict(type='LoadImage'), dict(type='mmpretrain.PackInputs')]
CROPS = MultiCrop(
    before=[dict(type='LoadImage')],
    views=dict(
        global_1=dict(
            num_views=1,
            crop=dict(type='RandomResizedCrop', size=32, scale=(.4, 1.)),
            pipeline=[
                dict(type='HorizontalFlip'),
                dict(type='ColorJitter'),
                dict(type='RandomGrayscale'),
                dict(type='GaussianBlur', prob=.5),
                dict(type='Solarize')
            ]),
        local=dict(
            num_views=1,
            crop=dict(type='RandomResizedCrop', size=16, scale=(.05, .4)),
            pipeline=[])))

FORMATS = {
    'PNG': ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'),
    'JPEG': ('L', 'RGB', 'CMYK'),
    'WEBP': ('RGB', 'RGBA'),
    'TIFF': ('1', 'L', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16'),
    'BMP': ('1', 'L', 'P', 'RGB'),
}
KINDS = st.sampled_from([(f, m) for f, modes in FORMATS.items()
                         for m in modes])
SIZES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(1, 1), (1, 5000), (5000, 1), (2, 3)]))


def encode(kind, size, seed=0, frames=1, orientation=1) -> bytes:
    name, mode = kind
    exif = Image.Exif()
    exif[0x112] = orientation
    rng = np.random.default_rng(seed)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        for _ in range(frames)
    ]
    pictures = [
        p.convert('L').convert(mode) if mode == 'I;16' else p.convert(mode)
        for p in pictures
    ]
    file = io.BytesIO()
    more = dict(
        save_all=True, append_images=pictures[1:]) if (
            frames > 1 and name in ('PNG', 'WEBP', 'TIFF')) else {}
    pictures[0].save(file, name, exif=exif, **more)
    return file.getvalue()


@pytest.fixture(scope='module')
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('bad') / 'x.png'


def crops_of(file, data: bytes):
    file.write_bytes(data)
    return CROPS(dict(img_path=str(file)))['img']


@given(KINDS, SIZES, st.integers(0, 9), st.integers(1, 3), st.integers(1, 8))
def test_any_picture_gives_crops(file, kind, size, seed, frames, orientation):
    crops = crops_of(file, encode(kind, size, seed, frames, orientation))
    assert [c.shape for c in crops] == [(32, 32, 3), (16, 16, 3)]
    assert all(c.dtype == np.uint8 for c in crops)


@given(KINDS, st.floats(0, .97))
def test_a_cut_picture_is_refused(file, kind, part):
    data = encode(kind, (64, 64))
    with pytest.raises(UnreadableImageError, match='x.png: '):
        crops_of(file, data[:int(part * len(data))])


@given(KINDS, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))),
       st.binary(max_size=20))
def test_a_damaged_picture_is_refused_or_read(file, kind, changes, tail):
    data = bytearray(encode(kind, (20, 20)) + tail)
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        crops = crops_of(file, bytes(data))
    except UnreadableImageError:
        return
    assert [c.shape for c in crops] == [(32, 32, 3), (16, 16, 3)]


@given(st.binary(max_size=200))
def test_what_is_no_picture_is_refused(file, data):
    with pytest.raises(UnreadableImageError, match='x.png: '):
        crops_of(file, data)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(file):

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack('>I4s', len(content), kind) + content + struct.pack(
            '>I', checksum)

    side = 20000  # 400 million pixels
    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(
        b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b'')
    with pytest.raises(UnreadableImageError, match='DecompressionBomb'):
        crops_of(file, data)


def test_a_jpeg_with_a_thumbnail_that_is_cut_is_refused(file):
    thumbnail = encode(('JPEG', 'RGB'), (8, 8))
    file.write_bytes(b'')
    data = encode(('JPEG', 'RGB'), (64, 64))
    whole = data[:2] + b'\xff\xe1' + struct.pack(
        '>H',
        len(thumbnail) + 2) + thumbnail + data[2:]
    assert crops_of(file, whole + b'\0\0')
    with pytest.raises(UnreadableImageError, match='truncated'):
        crops_of(file, whole[:-500])


NAMES = st.text(
    st.characters(exclude_characters='/\0', exclude_categories=['Cs']),
    min_size=1,
    max_size=20).filter(lambda name: name[0] != '.')
ODD = ['two words', 'new\nline', 'naïve 图像', 'tab\there', '-rf', "it's", '%s']


def check_names(root: Path, names) -> None:
    """A folder and an archive of them give the same images."""
    root.mkdir(exist_ok=True)
    written = {}
    for i, name in enumerate(sorted(set(names))):
        path = root / f'{i}' / f'{name}.png'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(('PNG', 'L'), (3, 3), i))
        written[str(path)] = LoadImage().transform(
            dict(img_path=str(path)))['img']
    with ZipFile(root.parent / 'a.zip', 'w') as archive:
        for path in written:
            archive.write(path, os.path.relpath(path, root))
    for place in (root, root.parent / 'a.zip'):
        dataset = Images(str(place), with_label=False, pipeline=PIPELINE)
        assert len(dataset) == len(written)
        inputs = {
            dataset[i]['inputs'].numpy().tobytes()
            for i in range(len(dataset))
        }
        assert inputs == {
            v.transpose(2, 0, 1).tobytes()
            for v in written.values()
        }


def test_odd_names(tmp_path):
    check_names(tmp_path / 'folder', ODD)


@settings(max_examples=10)
@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_any_names(tmp_path_factory, names):
    names = [n for n in names if len(n.encode()) < 200]
    if names:
        check_names(tmp_path_factory.mktemp('names') / 'folder', names)


def test_names_that_are_no_unicode_are_reported(tmp_path):
    path = os.fsencode(tmp_path) + b'/\xff\xfe.png'
    with open(path, 'wb') as file:
        file.write(b'no image')
    (tmp_path / 'good.png').write_bytes(encode(('PNG', 'L'), (3, 3)))
    dataset = Images(str(tmp_path), pipeline=PIPELINE)
    assert torch.equal(dataset[0]['inputs'], dataset[1]['inputs'])


def test_loops_of_links_end(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'x.png').write_bytes(encode(('PNG', 'L'), (3, 3)))
    (tmp_path / 'a' / 'up').symlink_to(tmp_path)
    (tmp_path / 'self').symlink_to(tmp_path / 'self')
    (tmp_path / 'self.png').symlink_to(tmp_path / 'self.png')
    dataset = Images(str(tmp_path), with_label=False, pipeline=PIPELINE)
    assert [dataset[i]['inputs'].shape
            for i in range(len(dataset))] == [(3, 3, 3)] * len(dataset)


def test_names_that_leave_an_archive_read_what_is_in_it(tmp_path):
    inside, outside = (encode(('PNG', 'L'), (n, n)) for n in (3, 5))
    (tmp_path / 'x.png').write_bytes(outside)
    (tmp_path / 'sub').mkdir()
    before = sorted(tmp_path.rglob('*'))
    with ZipFile(tmp_path / 'sub/a.zip', 'w') as archive:
        for name in ('../x.png', f'{tmp_path}/x.png', 'a/../../x.png'):
            archive.writestr(name, inside)
    dataset = Images(
        str(tmp_path / 'sub/a.zip'), with_label=False, pipeline=PIPELINE)
    assert [dataset[i]['inputs'].shape[-1] for i in range(3)] == [3, 3, 3]
    assert sorted(tmp_path.rglob('*')) == sorted(
        [*before, tmp_path / 'sub/a.zip'])


def test_nested_and_damaged_archives(tmp_path):
    with ZipFile(tmp_path / 'inner.zip', 'w') as archive:
        archive.writestr('x.png', encode(('PNG', 'L'), (3, 3)))
    with ZipFile(tmp_path / 'outer.zip', 'w') as archive:
        archive.write(tmp_path / 'inner.zip', 'inner.zip')
    with pytest.raises(ValueError, match='no image in .*outer.zip'):
        Images(str(tmp_path / 'outer.zip'))
    data = (tmp_path / 'inner.zip').read_bytes()
    (tmp_path / 'cut.zip').write_bytes(data[:len(data) // 2])
    with pytest.raises(ValueError, match='cut.zip.*neither a zip'):
        Images(str(tmp_path / 'cut.zip'))


def test_a_bomb_in_an_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('mmdino.datasets.listing.MAX_BYTES', 1000)
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('bomb.png', b'\0' * 2000)
        archive.writestr('x.png', encode(('PNG', 'L'), (3, 3)))
    dataset = Images(str(tmp_path / 'a.zip'), pipeline=PIPELINE)
    assert dataset[0]['inputs'].shape == (3, 3, 3)
    assert int(dataset.unreadable.sum()) == 1


NAN, INF = float('nan'), float('inf')
NOT_POSITIVE = st.one_of(st.floats(max_value=0, allow_nan=False), st.just(NAN))
BELOW_ONE = st.integers(-100, 0)
NO_SHARE = st.one_of(
    st.floats(max_value=-1e-9), st.floats(min_value=1.0000001), st.just(NAN))
BAD_RANGES = st.one_of(
    st.tuples(st.floats(.5, 1), st.floats(.1, .49)),
    st.tuples(st.floats(max_value=0), st.floats(.1, 1)),
    st.sampled_from([(.1, NAN), (.1, INF), (.1, ), (.1, .2, .3)]))
CROP = dict(type='RandomResizedCrop', size=32, scale=(.4, 1.))
SETTINGS = [
    (TRANSFORMS, CROP, 'size', BELOW_ONE),
    (TRANSFORMS, CROP, 'scale', BAD_RANGES),
    (TRANSFORMS, CROP, 'ratio', BAD_RANGES),
    (TRANSFORMS, dict(type='GaussianBlur'), 'prob', NO_SHARE),
    (TRANSFORMS, dict(type='GaussianBlur', prob=.5), 'radius', BAD_RANGES),
    (TRANSFORMS, dict(type='HorizontalFlip'), 'prob', NO_SHARE),
    (TRANSFORMS, dict(type='Solarize'), 'prob', NO_SHARE),
    (TRANSFORMS, dict(type='RandomGrayscale'), 'prob', NO_SHARE),
    (TRANSFORMS, dict(type='ColorJitter'), 'prob', NO_SHARE),
    *((TRANSFORMS, dict(type='ColorJitter'), name,
       st.one_of(st.floats(max_value=-1e-9), st.just(NAN)))
      for name in ('brightness', 'contrast', 'saturation', 'hue')),
    (MODELS, dict(type='DINOLoss'), 'student_temp', NOT_POSITIVE),
    (MODELS, dict(type='MeanCentering', out_dim=8), 'momentum', NO_SHARE),
    *((MODELS, dict(type='DINOHead', in_channels=8), name, BELOW_ONE)
      for name in ('in_channels', 'out_dim', 'hidden_channels',
                   'bottleneck_channels', 'num_layers')),
    (HOOKS, dict(type='CenteringHook'), 'teacher_temp', NOT_POSITIVE),
    (HOOKS, dict(type='CenteringHook'), 'warmup_teacher_temp', NOT_POSITIVE),
    (HOOKS, dict(type='CenteringHook'), 'warmup_epochs', st.integers(-100,
                                                                     -1)),
    (HOOKS, dict(type='TeacherEMAHook'), 'momentum', NO_SHARE),
    (HOOKS, dict(type='TeacherEMAHook'), 'end_momentum', NO_SHARE),
    (HOOKS, dict(type='FreezeLastLayerHook'), 'num_epochs',
     st.integers(-100, -1)),
    (METRICS, dict(type='KNNAccuracy'), 'k', st.lists(BELOW_ONE, max_size=3)),
    (DATASETS, dict(type='ShapeScenes'), 'num_images', BELOW_ONE),
    (DATASETS, dict(type='ShapeScenes'), 'area', BAD_RANGES),
]


@pytest.mark.parametrize(
    'registry,cfg,name,values',
    SETTINGS,
    ids=[f'{cfg["type"]}.{name}' for _, cfg, name, _ in SETTINGS])
def test_bad_settings_are_refused_when_built(registry, cfg, name, values):

    @settings(max_examples=15)
    @given(values)
    def check(value):
        with pytest.raises((ValueError, TypeError)) as caught:
            registry.build(dict(cfg, **{name: value}))
        assert str(caught.value).strip(string.punctuation)

    check()


@pytest.mark.parametrize('path,value,message', [
    ('train_cfg.max_epochs', -3, 'max_epochs must be 1 or more, got -3'),
    ('train_cfg.max_epochs', 0, 'max_epochs must be 1 or more, got 0'),
    ('train_cfg.val_interval', 0, 'val_interval must be 1 or more, got 0'),
    ('train_dataloader.batch_size', 0, 'batch_size should be a positive'),
    ('train_dataloader.batch_size', 99, 'gives no batch: .* 8 images'),
    ('train_dataloader.num_workers', -1, 'num_workers'),
    ('optim_wrapper.clip_grad.max_norm', 0, 'max_norm must be > 0, got 0'),
    ('optim_wrapper.clip_grad.max_norm', NAN, 'max_norm must be > 0'),
    ('optim_wrapper.optimizer.lr', -1., 'Invalid learning rate'),
    ('optim_wrapper.optimizer.weight_decay', -1., 'Invalid weight_decay'),
    ('optim_wrapper.accumulative_counts', 0, 'accumulative_counts'),
    ('model.backbone.patch_size', 7, 'not a multiple of the patch size 7'),
])
def test_bad_settings_are_refused_before_training(path, value, message,
                                                  tmp_path):
    cfg = runner_cfg(tmp_path)
    cfg.train_dataloader.drop_last = True
    cfg.train_cfg.val_interval = 1
    cfg.merge_from_dict({path: value})
    with pytest.raises(Exception, match=message):
        runner = Runner.from_cfg(cfg)
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_run_over_a_folder_with_broken_files_reports_how_many(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(40):
        data = encode(('PNG', 'RGB'), (40, 40), i)
        (folder / f'{i}.png').write_bytes(data[:300] if i in (7, 8) else data)
    cfg = runner_cfg(tmp_path / 'run', batch_size=8)
    cfg.train_dataloader.pop('dataset')
    views = dict(global_1=dict(num_views=2, crop=CROP, pipeline=[]))
    cfg.train_dataloader.update(
        num_workers=2,
        dataset=dict(
            type='Images',
            data_root=str(folder),
            pipeline=dict(
                type='MultiCrop',
                before=[dict(type='LoadImage')],
                views=views,
                after=[dict(type='mmpretrain.PackInputs')])))
    Runner.from_cfg(cfg).train()
    log, = (tmp_path / 'run').glob('*/*.log')
    assert log.read_text().count(
        '2 of 40 images (5.0%) could not be read so far') == 1
    assert (tmp_path / 'run/epoch_2.pth').exists()
