"""Heads, data and labels of different numbers of classes are refused."""
import logging
import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from mmengine.structures import BaseDataElement, PixelData
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from mmdino.transfer.classes import (NumClassesHook, check_categories,
                                     check_files, check_heads, check_labels,
                                     check_size)

CLASSES = ('background', 'disc', 'square')


class Numbers(Dataset):
    METAINFO = dict(classes=('person', ))

    def __init__(self, length=4, classes=CLASSES):
        self.length = length
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return index


def model(**heads):
    parts = {'backbone': nn.Linear(1, 1), **heads}
    return nn.ModuleDict({**parts})


def head(num_classes):
    module = nn.Linear(1, 1)
    module.num_classes = num_classes
    return module


def test_heads_that_fit_pass():
    backbone = head(0)  # timm's
    check_heads(
        model(
            body=backbone,
            decode_head=head(3),
            rpn_head=head(1),
            roi_head=nn.ModuleDict(dict(bbox_head=head(3)))), CLASSES, 'train')


@pytest.mark.parametrize('heads, name', [
    (dict(decode_head=head(2)), 'decode_head'),
    (dict(decode_head=head(3), auxiliary_head=head(150)), 'auxiliary_head'),
    (dict(decode_head=nn.ModuleList([head(3), head(4)])), 'decode_head.1'),
    (dict(roi_head=nn.ModuleDict(dict(mask_head=head(80)))),
     'roi_head.mask_head'),
])
def test_a_head_of_another_number_is_refused(heads, name):
    message = (rf'model\.{name} has num_classes=\d+, but the val set has 3 '
               rf'classes.*set model\.{name}\.num_classes=3')
    with pytest.raises(ValueError, match=message):
        check_heads(model(**heads), CLASSES, 'val')


def test_one_class_is_no_string():
    with pytest.raises(ValueError, match=r"string 'cat': write \('cat', \)"):
        check_heads(model(), 'cat', 'train')


def test_a_loader_without_a_batch_is_refused():
    check_size('train', DataLoader(Numbers(), 2))
    empty = ConcatDataset([Numbers(0), Numbers(0)])
    with pytest.raises(ValueError, match='Numbers of train_dataloader has no'):
        check_size('train', DataLoader(empty, 2))
    with pytest.raises(ValueError, match='its 4 images .* batch_size=8'):
        check_size('train', DataLoader(Numbers(), 8, drop_last=True))


def masks(*values, channels=1):
    mask = torch.tensor(values).repeat(channels, 2, 1)
    sample = BaseDataElement(
        metainfo=dict(seg_map_path='a.png'), gt_sem_seg=PixelData(data=mask))
    return dict(data_samples=[sample])


def test_masks():
    check_labels(masks(0, 2, 255), CLASSES, 255)
    check_labels(masks(255, 255), CLASSES, 255)
    check_labels(masks(0, 9), CLASSES, 9)
    with pytest.raises(ValueError, match=r'a.png has the labels \[3, 7\]'):
        check_labels(masks(0, 7, 3), CLASSES, 255)
    with pytest.raises(ValueError, match=r'a.png is read as \(3, 2, 2\)'):
        check_labels(masks(0, 1, channels=3), CLASSES, 255)


def test_labels_of_images_and_objects():
    for sample in (BaseDataElement(
            metainfo=dict(img_path='a.jpg'), gt_label=torch.tensor([3])),
                   BaseDataElement(
                       metainfo=dict(img_path='a.jpg'),
                       gt_instances=BaseDataElement(
                           labels=torch.tensor([0, -1])))):
        with pytest.raises(ValueError, match='a.jpg has the labels'):
            check_labels(dict(data_samples=[sample]), CLASSES, 255)
    none = BaseDataElement(gt_instances=BaseDataElement())
    check_labels(dict(data_samples=[none, BaseDataElement()]), CLASSES, 255)


@pytest.fixture
def coco(tmp_path):
    """A data set as mmdet's, of a file with two categories and two more."""
    path = tmp_path / 'train.json'
    path.write_text('{"categories": [{"name": "cat"}, {"name": "bird"}, '
                    '{"name": "dog"}]}')

    def build(*classes):
        data = Numbers(classes=classes)
        data.ann_file, data.cat_ids = str(path), [1, 3]
        return data

    return build


def test_categories(coco):
    check_categories(Numbers())
    check_categories(coco('cat', 'dog'))
    check_categories(coco('person'))  # the class's own
    with pytest.raises(ValueError, match=r"no category \['cow'\]; its .*cat"):
        check_categories(coco('cat', 'cow'))
    with pytest.raises(
            ValueError, match=r"another order .* classes=\('cat', 'dog'\)"):
        check_categories(coco('dog', 'cat'))


@pytest.fixture
def files(tmp_path):
    """Data of two images as mmseg's or mmdet's, with files of 6 x 4 pixels."""
    for name in ('0.jpg', '1.jpg', '0.png', '1.png'):
        Image.new('L', (6, 4)).save(tmp_path / name)

    def build(**more):
        data = Numbers(2)
        data.get_data_info = lambda i: dict(
            img_path=f'{tmp_path}/{i}.jpg',
            **{
                k: f'{tmp_path}/{i}.png' if v == 'mask' else v
                for k, v in more.items()
            })
        return data

    return build


def test_files(files, tmp_path):
    masks, boxes = files(seg_map_path='mask'), files(
        width=6, height=4, seg_map_path=None)
    check_files(masks)
    check_files(boxes)
    with pytest.raises(ValueError, match='0.jpg has 6 x 4 .* 4 x 6: they'):
        check_files(files(width=4, height=6))
    Image.new('L', (3, 2)).save(tmp_path / '1.png')
    with pytest.raises(ValueError, match='1.jpg has 6 x 4 .*1.png 3 x 2: '):
        check_files(masks)
    (tmp_path / '1.png').write_text('no image')
    with pytest.raises(ValueError, match='1.png is no image'):
        check_files(masks)
    (tmp_path / '1.png').unlink()
    with pytest.raises(
            FileNotFoundError, match='1 of 4 .* first one is .*1.p'):
        check_files(masks)
    (tmp_path / '0.jpg').unlink()
    with pytest.raises(
            FileNotFoundError, match='1 of 2 .* first one is .*0.j'):
        check_files(boxes)
    boxes.metainfo = Numbers.METAINFO  # those of a benchmark
    check_files(boxes)


def test_objects_without_an_outline(files):
    """Of COCO's format, where a Mask R-CNN would need one."""
    loads = SimpleNamespace(with_mask=True)
    for thing in (dict(mask=[[0, 0, 1, 1, 1, 0]]), dict()):
        boxes = files(width=6, height=4, instances=[thing])
        boxes.ann_file = 'train.json'
        boxes.pipeline = SimpleNamespace(transforms=[])
        check_files(boxes)
        boxes.pipeline.transforms.append(loads)
        if thing:
            check_files(boxes)
    with pytest.raises(ValueError, match='2 of 2 objects in train.json have'):
        check_files(boxes)


def test_a_photo_on_its_side(files, tmp_path):
    """As the toolboxes load it, turned by its EXIF."""
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new('L', (4, 6)).save(tmp_path / '0.jpg', exif=turned)
    check_files(files(seg_map_path='mask'))


def test_files_of_another_suffix_are_told(files, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr('mmdino.transfer.classes.print_log',
                        lambda text, *_: told.append(text))
    data = files(seg_map_path='mask')
    data.img_suffix, data.ann_file = '.jpg', ''
    data.data_prefix = dict(img_path=str(tmp_path))
    check_files(data)
    assert re.match(r"2 files of .*img_suffix='.jpg', such as 0.png", *told)


def test_classes_that_no_pixel_is_of_are_told(caplog):
    """Masks of 0 and 255, say."""
    hook = NumClassesHook()
    data = DataLoader(Numbers(), 2)
    runner = SimpleNamespace(
        model=model(head=head(3)),
        val_dataloader=data,
        logger=logging.getLogger('classes'))
    hook.before_val(runner)
    hook.before_val_iter(runner, 0, masks(0, 255))
    hook.before_val_iter(runner, 1, masks(2, 0))
    with caplog.at_level('WARNING'):
        hook.after_val_epoch(runner)
    assert "labelled 'disc' (1), which" in caplog.text


@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_every_phase_is_checked(phase):
    """Data sets that are repeated too, before it starts and each batch."""
    hook = NumClassesHook()
    loader = DataLoader(Numbers(classes=('a', 'b')), 2)
    runner = SimpleNamespace(
        model=model(head=head(3)),
        val_loop=None,
        **{f'{phase}_dataloader': loader})
    with pytest.raises(ValueError, match=f'the {phase} set has 2 classes'):
        getattr(hook, f'before_{phase}')(runner)
    with pytest.raises(ValueError, match='a.png has the labels'):
        getattr(hook, f'before_{phase}_iter')(runner, 0, masks(2))
