import os

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmdino.datasets import Images
from mmdino.registry import DATASETS

PIPELINE = [dict(type='LoadImage'), dict(type='mmpretrain.PackInputs')]


def contents(dataset) -> list[tuple[int, int | None]]:
    """Gray level and label of every item."""
    return [(int(item['inputs'].float().mean()),
             int(item['data_samples'].gt_label)
             if 'gt_label' in item['data_samples'] else None)
            for item in (dataset[i] for i in range(len(dataset)))]


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """What the data set logs."""
    logged = []
    monkeypatch.setattr('mmdino.datasets.images.print_log',
                        lambda message, **kwargs: logged.append(message))
    return logged


EXPECTED = [(10 * i + j, i) for i in range(3) for j in range(4)]


def test_folder_archive_and_list_hold_the_same(class_folder, archive):
    list_file = class_folder.parent / 'list.txt'
    list_file.write_text('\n'.join(f'{name}/{j}.png {i}'
                                   for i, name in enumerate(('ant', 'bee',
                                                             'cat'))
                                   for j in range(4)))
    for root, subset in ((class_folder, 'train'), (archive, 'train'),
                         (list_file, 'data/train')):
        dataset = DATASETS.build(
            dict(
                type='Images',
                data_root=str(root),
                subset=subset,
                pipeline=PIPELINE))
        assert contents(dataset) == EXPECTED
        if root != list_file:
            assert dataset.CLASSES == ('ant', 'bee', 'cat')


def test_labels_only_where_there_are_classes(class_folder):
    root = str(class_folder)
    assert 'gt_label' not in Images(root).get_data_info(0)  # train/ alone
    assert 'gt_label' not in Images(
        root, 'train', with_label=False).get_data_info(0)
    (class_folder / 'train' / 'x.png').touch()  # outside of any class
    assert 'gt_label' not in Images(root, 'train').get_data_info(0)
    with pytest.raises(ValueError, match='with_label=True, but .*train'):
        Images(root, 'train', with_label=True)


def test_classes_keep_their_order_in_a_split_that_lacks_some(class_folder):
    (class_folder / 'train' / 'bee').rename(class_folder / 'bee')
    dataset = Images(str(class_folder), 'train', classes=['cat', 'bee', 'ant'])
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(8)]
    assert labels == 4 * [2] + 4 * [0]
    with pytest.raises(ValueError, match=r"folders \['cat'\], which"):
        Images(str(class_folder), 'train', classes=['ant', 'bee'])


def test_subsets(class_folder):
    kwargs = dict(
        data_root=str(class_folder), subset='train', pipeline=PIPELINE)
    assert contents(Images(**kwargs, images_per_class=2)) == [(0, 0), (1, 0),
                                                              (10, 1), (11, 1),
                                                              (20, 2), (21, 2)]
    assert contents(Images(**kwargs, indices=3)) == EXPECTED[:3]
    assert contents(Images(**kwargs).get_subset([5, 1])) == [(11, 1), (1, 0)]
    with pytest.raises(ValueError, match='images_per_class needs labels'):
        Images(**kwargs, with_label=False, images_per_class=2)


def test_workers_read_an_archive(archive):
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dict(
                type='mmdino.Images',
                data_root=str(archive),
                subset='train',
                pipeline=PIPELINE)))
    loader.dataset[0]  # the parent's handle is open when it forks
    levels = [
        int(img.float().mean()) for batch in loader for img in batch['inputs']
    ]
    assert levels == [level for level, _ in EXPECTED]


def test_unreadable_images_are_replaced_and_counted(class_folder, messages):
    damaged = cv2.imencode('.jpg', np.zeros((40, 40, 3), np.uint8))[1][:200]
    for name, content in (('ant/1', b''), ('ant/2', b'no image'),
                          ('cat/3', damaged.tobytes())):
        (class_folder / 'train' / f'{name}.png').write_bytes(content)
    dataset = Images(str(class_folder), 'train', pipeline=PIPELINE)
    for _ in range(2):  # an epoch later: same items, no more messages
        assert contents(dataset) == [(0, 0), (3, 0), (3, 0), (3, 0),
                                     *EXPECTED[4:11], (0, 0)]
    assert [m[:36] for m in messages] == [
        f'{n} of 12 images could not be read so ' for n in (1, 2, 3)
    ]
    assert 'ant/1.png: ' in messages[0] and 'cat/3.png: ' in messages[2]


def test_names_that_are_not_utf8(tmp_path, capfd, monkeypatch):
    """They reach the file of the log, and list files hold their bytes."""
    folder, log = tmp_path / 'odd', tmp_path / 'x.log'
    folder.mkdir()
    pixels = cv2.imencode('.png', np.full((8, 8, 3), 7, np.uint8))[1]
    for name, content in ((b'\xffa', b'nothing'), (b'\xe9b', pixels)):
        with open(os.path.join(os.fsencode(folder), name + b'.png'),
                  'wb') as file:
            file.write(content)
    (tmp_path / 'list.txt').write_bytes(b'\xffa.png\n\xe9b.png\n')
    monkeypatch.setattr(MMLogger, '_instance_dict',
                        MMLogger._instance_dict.copy())
    MMLogger.get_instance('odd', logger_name='odd', log_file=str(log))
    for images in (Images(str(folder), pipeline=[dict(type='LoadImage')]),
                   Images(
                       str(tmp_path / 'list.txt'),
                       'odd',
                       pipeline=[dict(type='LoadImage')])):
        assert [images[i]['img'][0, 0, 0] for i in range(2)] == [7, 7]
    assert rf'the next one: {folder}/\udcffa.png: ' in log.read_text()
    assert 'Logging error' not in capfd.readouterr().err
    (tmp_path / 'list.txt').write_bytes(b'\xe4.png\n')
    with pytest.raises(ValueError, match=r'not UTF-8: it names \\udce4.png'):
        Images(str(tmp_path / 'list.txt'), 'odd').full_init()


def test_unreadable_images_are_counted_over_workers(class_folder):
    for j in range(4):
        (class_folder / 'train' / 'bee' / f'{j}.png').write_bytes(b'')
    loader = Runner.build_dataloader(
        dict(
            batch_size=1,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='mmdino.Images',
                data_root=str(class_folder),
                subset='train',
                pipeline=PIPELINE)))
    assert len(list(loader)) == 12
    assert int(loader.dataset._unreadable.sum()) == 4


def test_broken_link_is_unreadable(class_folder, messages):
    (class_folder / 'train' / 'ant' / '0.png').unlink()
    (class_folder / 'train' / 'ant' / '0.png').symlink_to('nowhere')
    dataset = Images(str(class_folder), 'train', pipeline=PIPELINE)
    assert int(dataset[0]['inputs'].max()) == 1
    assert 'FileNotFoundError' in messages[0]


def test_all_unreadable_is_an_error(class_folder, messages):
    for image in class_folder.rglob('*.png'):
        image.write_bytes(b'')
    dataset = Images(str(class_folder), 'train', pipeline=PIPELINE)
    with pytest.raises(
            RuntimeError, match=r'none of the 12 .*train\) can .*ant/0.png'):
        dataset[0]


def test_mistakes_in_the_pipeline_are_not_taken_for_bad_images(class_folder):
    dataset = Images(
        str(class_folder),
        'train',
        pipeline=[*PIPELINE[:1], lambda results: results['missing']])
    with pytest.raises(KeyError, match='missing'):
        dataset[0]


def test_missing_and_empty_folders(tmp_path, archive):
    with pytest.raises(FileNotFoundError, match='nowhere.*; give a folder'):
        Images(str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match="no folder 'val'"):
        Images(str(tmp_path), 'val')
    (tmp_path / 'empty').mkdir()
    for root, subset in ((tmp_path / 'empty', ''), (archive, 'val')):
        with pytest.raises(ValueError, match='no image in .*extensions.*jpeg'):
            Images(str(root), subset, with_label=True)
