"""Each config for classes of one's own trains, with three lines changed."""
import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from tests.transfer import test_finetune, test_seg
from tests.transfer.own import copy_config
from tests.transfer.seg_trees import write_own

checkpoints = test_seg.checkpoints
checkpoint = test_finetune.checkpoint


@pytest.fixture
def segmentor(tmp_path, checkpoints):
    """The config as copied, on small crops with the tiny ViT."""
    DefaultScope.get_instance('own', scope_name='mmseg')
    write_own(tmp_path / 'data')

    def build(classes=('sky', 'tree', 'path'), iterations=10):
        cfg = copy_config(
            'mmseg/upernet_vit-s16_own-classes',
            tmp_path,
            _data_root=str(tmp_path / 'data'),
            _classes={
                name: (i, i, i)
                for i, name in enumerate(classes)
            },
            _iterations=iterations)
        return test_seg.shrink(cfg, 'upernet', tmp_path,
                               checkpoints / 'vit.pth')

    return build


def test_masks_are_learnt_by_heart(segmentor):
    """The same four images again and again, then scored on them."""
    cfg = segmentor(iterations=40)
    cfg.train_dataloader.dataset.pipeline = [
        step for step in cfg.train_dataloader.dataset.pipeline
        if step.type not in ('RandomFlip', 'PhotoMetricDistortion')
    ]
    cfg.optim_wrapper.optimizer.lr = .01
    cfg.train_cfg.val_interval = 40
    runner = Runner.from_cfg(cfg)
    assert runner.model.decode_head.num_classes == 3
    assert runner.model.auxiliary_head.num_classes == 3
    runner.train()
    score = runner.message_hub.get_scalar('val/aAcc').current()
    assert score > 60  # three bands: 33 by chance
    assert runner.val_dataloader.dataset.metainfo['palette'][2] == (2, 2, 2)


def test_a_mask_of_another_class_stops_the_training(segmentor):
    with pytest.raises(
            ValueError,
            match=r'masks/train/\d.png has the labels '
            r'\[2\], but .* the 2 classes 0 to 1'):
        Runner.from_cfg(segmentor(('sky', 'tree'))).train()


def test_a_wrong_mask_stops_the_validation(segmentor, tmp_path):
    """mmseg's IoU would take its pixels for none."""
    cfg = segmentor()
    Image.new('L', (96, 64), 9).save(tmp_path / 'data/masks/val/2.png')
    cfg.load_from = None
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match=r'val/2.png has the labels \[9\]'):
        runner.val()


@pytest.fixture
def classifier(tmp_path, checkpoint):
    """The config as copied, for small images in folders of one colour."""
    DefaultScope.get_instance('own', scope_name='mmdino')
    colors = dict(blue=(0, 0, 200), green=(0, 200, 0), red=(200, 0, 0))
    for split in ('train', 'val'):
        for name, color in colors.items():
            for i in range(8):
                path = tmp_path / 'data' / split / name / f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (36, 36), color).save(path)

    def build(num_classes=3, epochs=3):
        cfg = copy_config(
            'mmpretrain/finetune_own-classes',
            tmp_path,
            _data_root=str(tmp_path / 'data'),
            _num_classes=num_classes,
            _epochs=epochs)
        return test_finetune.shrink(cfg, tmp_path, checkpoint)

    return build


def test_folders_are_learnt(classifier):
    cfg = classifier(epochs=20)
    cfg.optim_wrapper.optimizer.lr = 1.  # of 768 images
    runner = Runner.from_cfg(cfg)
    runner.train()
    score = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert score > 60  # 33 by chance


def test_the_warm_up_of_one_batch_an_epoch_ends(classifier):
    cfg = classifier()
    cfg.train_dataloader.batch_size = 100
    cfg.default_hooks.logger.interval = 1
    peak = cfg.optim_wrapper.optimizer.lr
    runner = Runner.from_cfg(cfg)
    runner.train()
    rates = runner.message_hub.get_scalar('train/base_lr').data[0]
    assert rates.tolist() == pytest.approx([.01 * peak, peak, peak])


def test_another_number_of_folders_is_refused(classifier, tmp_path):
    with pytest.raises(
            ValueError,
            match='model.head has num_classes=4, but the '
            'train set has 3 classes'):
        Runner.from_cfg(classifier(num_classes=4)).train()
    for path in (tmp_path / 'data/val/green').iterdir():
        path.unlink()
    (tmp_path / 'data/val/green').rmdir()
    with pytest.raises(
            ValueError, match='mean different classes|val set has 2'):
        Runner.from_cfg(classifier()).train()
