from zipfile import ZipFile

import pytest

from mmdino.datasets.listing import (class_folders, list_archive, list_folder,
                                     read_list)


def test_folder_is_listed_nested_in_any_case(tmp_path):
    names = ['b.JPG', 'a/deep/er/x.PnG', 'a/with space é.jpeg', 'a/n.webp']
    for name in [*names, 'a/note.txt', 'a/._b.jpg', '.hidden.png']:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_folder(tmp_path) == sorted(names)


def test_hidden_folders_hold_no_images(tmp_path):
    """Jupyter's copies of pictures would be a class of their own."""
    root = tmp_path / '.photos'  # hidden itself, but asked for
    for name in ('a/0.png', 'b/1.png', '.ipynb_checkpoints/0-checkpoint.png',
                 'b/.thumbnails/1.png'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert list_folder(root) == ['a/0.png', 'b/1.png']
    with ZipFile(tmp_path / 'photos.zip', 'w') as archive:
        for path in root.rglob('*.png'):
            archive.write(path, path.relative_to(tmp_path).as_posix())
            archive.writestr(f'./c/{path.relative_to(root).as_posix()}', b'')
    assert list_archive(tmp_path / 'photos.zip',
                        '.photos') == ['a/0.png', 'b/1.png']
    assert list_archive(tmp_path /
                        'photos.zip') == ['./c/a/0.png', './c/b/1.png']


def test_folder_links_are_followed_and_loops_end(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'real' / 'x.png').touch()
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'link').symlink_to(tmp_path / 'real')
    (tmp_path / 'real' / 'loop').symlink_to(tmp_path / 'root')
    assert list_folder(tmp_path / 'root') == ['link/x.png']


def test_archive_is_listed_from_a_folder_inside(archive):
    names = list_archive(archive, 'train')
    assert len(names) == 12 and names[0] == 'ant/0.png'
    assert list_archive(archive) == [f'train/{name}' for name in names]
    assert list_archive(archive, 'train/bee/') == [f'{j}.png' for j in '0123']
    assert list_archive(archive, 'tra') == []


def test_encrypted_archive_is_refused(tmp_path, archive):
    # the flag alone, as every reader sees it: bit 0 in both headers
    data = bytearray(archive.read_bytes())
    for header, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.find(header) + offset] |= 1
    (tmp_path / 'secret.zip').write_bytes(data)
    with pytest.raises(ValueError, match='1 encrypted images; the first is'):
        list_archive(tmp_path / 'secret.zip')


@pytest.mark.parametrize('text, paths, labels', [
    ('a.jpg\nb/c d.PNG\n\n', ['a.jpg', 'b/c d.PNG'], None),
    ('a.jpg 3\nb c.png\t0\nd.png, 12\n', ['a.jpg', 'b c.png', 'd.png'
                                          ], [3, 0, 12]),
    ('cat.jpg 3.jpg\r\n', ['cat.jpg 3.jpg'], None),
    ('', [], None),
])
def test_list_file(tmp_path, text, paths, labels):
    (tmp_path / 'list.txt').write_text(text)
    assert read_list(tmp_path / 'list.txt') == (paths, labels)


@pytest.mark.parametrize('content, message', [
    (b'a.jpg\nb.doc 3\n', "line 2: 'b.doc 3' is not a path that ends in"),
    (b'a.jpg cat\n', "line 1: 'a.jpg cat'"),
    (b'a.jpg 1\nb.jpg\n', "1 of 2 lines .* without one is 'b.jpg'"),
    (b'\xff\xd8\xff\xe0', 'neither a zip archive nor a list file'),
])
def test_bad_list_file(tmp_path, content, message):
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_list(tmp_path / 'list.txt')


def test_class_folders():
    assert class_folders(['b/x.png', 'a/y/z.png', 'b/w.png']) == ['a', 'b']
    assert class_folders(['b/x.png', 'y.png']) == []
