"""One picture in many ways: the same pixels from a file and an object."""
import io
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdino.datasets.decoding import decode, from_pillow, turned
from mmdino.datasets.listing import join_zip_path
from mmdino.datasets.transforms import LoadImage, UnreadableImageError

RNG = np.random.default_rng(0)
PHOTO = cv2.resize(
    RNG.integers(0, 256, (6, 8, 3), np.uint8), (40, 30),
    interpolation=cv2.INTER_CUBIC)
MODES = {
    'PNG': ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16', 'I;16B'),
    'JPEG': ('L', 'RGB', 'CMYK', 'YCbCr'),
    'WEBP': ('RGB', 'RGBA'),
    'TIFF': ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB',
             'I', 'I;16', 'I;16B', 'F'),
    'BMP': ('1', 'L', 'P', 'RGB'),
    'GIF': ('L', 'P', 'RGB'),
    'PPM': ('1', 'L', 'RGB', 'I'),
    'JPEG2000': ('L', 'RGB', 'RGBA', 'I;16'),
    'AVIF': ('RGB', 'RGBA'),
    'TGA': ('L', 'RGB', 'RGBA'),
}


def picture(mode: str) -> Image.Image:
    image = Image.fromarray(PHOTO)
    if mode.startswith('I'):
        deep = PHOTO[..., 0].astype(np.uint16) * 257
        kind = {'I': np.int32, 'I;16B': '>u2'}.get(mode, np.uint16)
        return Image.fromarray(deep.astype(kind))
    return image.convert('RGBA' if mode == 'PA' else 'RGB').convert(mode)


def encoded(image: Image.Image, name: str, **kwargs) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **kwargs)
    return file.getvalue()


@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'unchanged'])
@pytest.mark.parametrize('name, mode',
                         [(n, m) for n, modes in MODES.items() for m in modes])
def test_a_file_and_its_pillow_image_are_the_same(name, mode, color_type):
    if name == 'AVIF' and '.avif' not in Image.registered_extensions():
        pytest.skip('Pillow is built without AVIF')
    data = encoded(picture(mode), name)
    by_file = decode(data, color_type)
    by_object = from_pillow(Image.open(io.BytesIO(data)), color_type)
    assert by_file.shape == by_object.shape and by_file.dtype == (
        by_object.dtype)
    step = 2 if by_file.dtype == np.uint8 else 0
    difference = np.abs(by_file.astype(float) - by_object)
    assert difference.max() <= step and difference.mean() < .5


@pytest.mark.parametrize('mode', [
    '1', 'L', 'P', 'RGB', 'RGBA', 'RGBX', 'RGBa', 'LA', 'La', 'PA', 'CMYK',
    'YCbCr', 'HSV', 'LAB', 'I', 'F', 'I;16', 'I;16L', 'I;16B', 'I;16N'
])
def test_every_mode_of_pillow_is_read(mode):
    image = picture('I;16') if mode.startswith('I;') else picture('RGB')
    if mode in ('La', 'RGBa', 'PA'):
        image = image.convert('LA' if mode == 'La' else 'RGBA')
    image = image if mode.startswith('I') else image.convert(mode)
    img = LoadImage()(dict(image=image))['img']
    assert img.shape == (30, 40, 3) and img.dtype == np.uint8
    assert img.std() > 10


def test_paths_bytes_members_objects_and_arrays_are_the_same(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / 'x.png')
    np.save(tmp_path / 'x.npy', PHOTO)
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.write(tmp_path / 'x.png', 'x.png')
    ways = [
        dict(img_path=str(tmp_path / 'x.png')),
        dict(img_path=str(tmp_path / 'x.npy')),
        dict(img_path=join_zip_path(str(tmp_path / 'a.zip'), 'x.png')),
        dict(img_bytes=(tmp_path / 'x.png').read_bytes()),
        dict(image=Image.fromarray(PHOTO)),
        dict(image=PHOTO)
    ]
    for way in ways:
        loaded = LoadImage()(dict(way))
        np.testing.assert_array_equal(loaded['img'], PHOTO[..., ::-1])
        assert loaded['ori_shape'] == (30, 40)
        assert 'image' not in loaded and 'img_bytes' not in loaded


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_orientation_is_a_setting(name, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    options = dict(quality=95) if name == 'JPEG' else dict(lossless=True)
    data = encoded(
        Image.fromarray(PHOTO),
        name,
        exif=exif,
        **(options if name in ('JPEG', 'WEBP') else {}))
    seen = turned(PHOTO[..., ::-1], orientation)
    close = 40 if name == 'JPEG' else 0
    for image in (decode(data), from_pillow(Image.open(io.BytesIO(data)))):
        assert image.shape == seen.shape
        assert np.abs(image.astype(int) - seen).max() <= close
    if name != 'TIFF':  # Pillow turns them while it reads them
        for image in (decode(data, turn=False),
                      from_pillow(Image.open(io.BytesIO(data)), turn=False)):
            assert image.shape == PHOTO.shape
    for load in (LoadImage(exif_orientation=False),
                 LoadImage('color_ignore_orientation')):
        assert not load.exif_orientation and load.color_type == 'color'


def test_channels_and_depth_are_kept_when_asked(tmp_path):
    deep = RNG.integers(0, 65536, (30, 40, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'c16.png'), deep)
    cv2.imwrite(str(tmp_path / 'c16.tif'), deep)
    load = LoadImage('unchanged')
    for name in ('c16.png', 'c16.tif'):
        img = load(dict(img_path=str(tmp_path / name)))['img']
        np.testing.assert_array_equal(img, deep)
        img = LoadImage()(dict(img_path=str(tmp_path / name)))['img']
        np.testing.assert_array_equal(img, (deep >> 8).astype(np.uint8))
    for dtype in (np.uint8, np.uint16, np.float32):
        for channels in (1, 2, 4, 5, 10):
            array = (RNG.random((30, 40, channels)) * 250).astype(dtype)
            np.save(tmp_path / 'x.npy', array)
            img = load(dict(img_path=str(tmp_path / 'x.npy')))['img']
            np.testing.assert_array_equal(img, array)
            assert img.dtype == dtype
    rgba = np.dstack([PHOTO, PHOTO[..., :1]])
    Image.fromarray(rgba).save(tmp_path / 'x.png')
    img = load(dict(img_path=str(tmp_path / 'x.png')))['img']
    np.testing.assert_array_equal(img, rgba)  # the order of the file


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_pages_of_a_tiff_are_channels(tmp_path, dtype):
    array = (RNG.random((30, 40, 10)) * 250).astype(dtype)
    pages = [Image.fromarray(page) for page in np.moveaxis(array, 2, 0)]
    pages[0].save(tmp_path / 'x.tif', save_all=True, append_images=pages[1:])
    path = dict(img_path=str(tmp_path / 'x.tif'))
    img = LoadImage('unchanged')(dict(path))['img']
    np.testing.assert_array_equal(img, array)
    opened = Image.open(tmp_path / 'x.tif')
    img = LoadImage('unchanged')(dict(image=opened))['img']
    np.testing.assert_array_equal(img, array)
    assert LoadImage()(dict(path))['img'].shape == (30, 40, 3)  # the first
    small = Image.fromarray(array[:10, ..., 0].copy())
    pages[0].save(tmp_path / 'x.tif', save_all=True, append_images=[small])
    with pytest.raises(UnreadableImageError, match='pages have several sizes'):
        LoadImage('unchanged')(dict(path))


@pytest.mark.parametrize('planar', ['contig', 'separate'])
@pytest.mark.parametrize('channels', [2, 4, 5, 10])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_tiff_of_many_channels(tmp_path, channels, planar, dtype):
    """The band of one plane alone is what Pillow makes of some of them."""
    tifffile = pytest.importorskip('tifffile')
    array = (RNG.random((30, 40, channels)) * 250).astype(dtype)
    tifffile.imwrite(
        tmp_path / 'x.tif',
        array if planar == 'contig' else array.transpose(2, 0, 1),
        photometric='minisblack',
        planarconfig=planar)
    path = str(tmp_path / 'x.tif')
    img = LoadImage('unchanged')(dict(img_path=path))['img']
    np.testing.assert_array_equal(img, array)


def test_without_tifffile_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr('mmdino.datasets.decoding.tifffile', None)
    with pytest.raises(ValueError, match='pip install tifffile'):
        decode(b'II*\0' + bytes(100), 'unchanged')


def test_value_range_of_16_bits(tmp_path, capfd):
    twelve = RNG.integers(0, 4096, (30, 40)).astype(np.uint16)
    path = dict(img_path=str(tmp_path / 'x.png'))
    Image.fromarray(twelve).save(tmp_path / 'x.png')
    for value_range, expected in (('full', twelve >> 8), ((0, 4095),
                                                          twelve / 4095 * 255),
                                  ('file', (twelve - twelve.min()) /
                                   np.ptp(twelve) * 255),
                                  ((1000, 2000),
                                   (twelve - 1000.) / 1000 * 255)):
        img = LoadImage(value_range=value_range)(dict(path))['img']
        expected = np.clip(expected, 0, 255)
        assert np.abs(img[..., 0] - expected).max() <= .51
    kept = LoadImage('unchanged')(dict(path))['img']
    np.testing.assert_array_equal(kept[..., 0], twelve)
    scaled = LoadImage('unchanged', value_range=(0, 4095))(dict(path))['img']
    assert scaled.dtype == np.uint8 and scaled.shape == (30, 40, 1)
    eight = LoadImage(value_range=(0, 4095))(dict(image=PHOTO))['img']
    np.testing.assert_array_equal(eight[..., ::-1], PHOTO)  # 8 bits are 8


def test_a_small_part_of_the_range_is_counted(monkeypatch):
    said = []
    monkeypatch.setattr('mmdino.datasets.transforms.loading.print_log',
                        lambda message, **kwargs: said.append(message))
    load = LoadImage()
    for i in range(30):
        top = 60000 if i % 2 else 4095
        load(dict(image=np.full((4, 4), top, np.uint16), img_path=f'{i}.png'))
    assert len(said) == 10  # of 1 to 9 and of 10
    assert said[0].startswith('1 of 1 images of more than 8 bits use less')
    assert 'largest value of 0.png is 4095' in said[0]
    assert 'value_range=(0, 4095)' in said[0]
    assert said[-1].startswith('10 of 19 images')


def test_floats_beyond_the_full_range_are_refused(tmp_path):
    for top, cause in ((300, '0 to 300, are outside of 0 to 255'), (np.nan,
                                                                    'NaN')):
        array = np.zeros((4, 4), np.float32)
        array[0, 0] = top
        with pytest.raises(UnreadableImageError, match=cause):
            LoadImage()(dict(image=array))
    array[0, 0] = 1.5
    assert LoadImage(value_range=(0, 1.5))(
        dict(image=array))['img'].max() == (255)


@pytest.mark.parametrize('kwargs, message', [
    (dict(color_type='rgb'), "color_type must be one of .* got 'rgb'"),
    (dict(value_range='auto'), "value_range must be 'full'"),
    (dict(value_range=(5, 5)), 'low < high'),
    (dict(max_pixels=0), 'must be positive'),
])
def test_settings_are_checked(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LoadImage(**kwargs)


def test_limits_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 500)
    data = encoded(Image.fromarray(PHOTO), 'PNG')  # 1200 pixels
    with pytest.raises(UnreadableImageError, match='DecompressionBomb'):
        LoadImage()(dict(img_bytes=data))
    assert LoadImage(max_pixels=1200)(dict(img_bytes=data))['img'].size
    with pytest.raises(UnreadableImageError, match='max_pixels'):
        LoadImage(max_pixels=1199)(dict(img_bytes=data))
    assert Image.MAX_IMAGE_PIXELS == 500
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('x.png', data)
    path = join_zip_path(str(tmp_path / 'a.zip'), 'x.png')
    with pytest.raises(UnreadableImageError, match='max_bytes of LoadImage'):
        LoadImage(max_bytes=100)(dict(img_path=path))
    assert LoadImage(
        max_bytes=10**6, max_pixels=10**4)(dict(img_path=path))['img'].size


@pytest.mark.parametrize('limit', [700, 1199])
def test_images_that_are_in_memory_have_the_limit_as_well(limit):
    for image in (Image.fromarray(PHOTO), PHOTO):  # 1200 pixels
        assert LoadImage(max_pixels=1200)(dict(image=image))['img'].size
        with pytest.raises(
                UnreadableImageError,
                match=f'has 1200 pixels, and at most {limit} are read: raise '
                'max_pixels of LoadImage'):
            LoadImage(max_pixels=limit)(dict(image=image))


@pytest.mark.parametrize('way', ['file', 'bytes', 'archive'])
@pytest.mark.parametrize('limit, own', [(10, 10), (1199, 1199), (None, 1000)])
def test_one_message_for_too_many_pixels(way, limit, own, tmp_path,
                                         monkeypatch):
    """Pillow's own check comes first where the excess is large."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 500)
    data = encoded(Image.fromarray(PHOTO), 'PNG')
    (tmp_path / 'x.png').write_bytes(data)
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('x.png', data)
    results = {
        'file': dict(img_path=str(tmp_path / 'x.png')),
        'bytes': dict(img_bytes=data),
        'archive':
        dict(img_path=join_zip_path(str(tmp_path / 'a.zip'), 'x.png'))
    }[way]
    with pytest.raises(
            UnreadableImageError,
            match=f'it has 1200 pixels, and at most {own} are read: raise '
            'max_pixels of LoadImage'):
        LoadImage(max_pixels=limit)(results)
    assert Image.MAX_IMAGE_PIXELS == 500


@pytest.mark.parametrize('array, cause', [
    (np.zeros((2, 3, 4, 5), np.uint8), r'\(H, W\) or \(H, W, C\)'),
    (np.zeros((2, 3), complex), 'of the type complex128'),
    (np.zeros((0, 3), np.uint8), 'got'),
    (np.zeros((4, 4, 5), np.uint8), "5 channels: .*color_type='unchanged'"),
])
def test_arrays_that_are_no_picture(array, cause):
    with pytest.raises(UnreadableImageError, match=cause):
        LoadImage()(dict(image=array))
