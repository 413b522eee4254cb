import io

import numpy as np
import pytest
from PIL import Image

from mmdino.datasets.transforms import LoadImage, UnreadableImageError


def load(path) -> np.ndarray:
    return LoadImage().transform(dict(img_path=str(path)))['img']


@pytest.mark.parametrize('mode, extension', [('L', 'jpg'), ('CMYK', 'jpg'),
                                             ('P', 'png'), ('RGBA', 'png'),
                                             ('LA', 'png'), ('1', 'png'),
                                             ('RGB', 'webp'), ('RGB', 'tif'),
                                             ('RGB', 'ppm')])
def test_every_mode_becomes_what_pillow_makes_of_it(photos, distance, tmp_path,
                                                    mode, extension):
    path = tmp_path / f'x.{extension}'
    Image.fromarray(photos[0]).convert(mode).save(path)
    img = load(path)
    expected = np.asarray(Image.open(path).convert('RGB'))[..., ::-1]
    assert img.shape == expected.shape and img.dtype == np.uint8
    assert distance(img, expected) < 1


def test_16_bits_keep_the_upper_8(photos, tmp_path):
    gray = photos[0][..., 0]
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / 'x.png')
    np.testing.assert_array_equal(
        load(tmp_path / 'x.png'), np.stack(3 * [gray], axis=-1))


def test_exif_turns_the_image(photos, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6  # orientation: turn right
    image = Image.fromarray(photos[0])
    image.save(tmp_path / 'x.jpg', exif=exif)
    assert load(tmp_path / 'x.jpg').shape == (image.width, image.height, 3)


def test_unreadable_files_are_named_with_the_cause(tmp_path, photos):
    file = io.BytesIO()
    Image.fromarray(photos[0]).save(file, 'PNG')
    for name, content in (('empty', b''), ('text', b'hello'),
                          ('cut', file.getvalue()[:5000])):
        (tmp_path / name).write_bytes(content)
    for name in ('empty', 'text', 'cut', 'missing'):
        with pytest.raises(UnreadableImageError, match=f'/{name}: '):
            load(tmp_path / name)
