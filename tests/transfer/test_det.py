"""Detection by config, trained by mmdet on a small COCO.

Runs where mmdet and mmcv's compiled operators are installed.
"""
import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmdino.engine.launch import distribute_on_cpu
from mmdino.models import DINO, VisionTransformer
from mmdino.registry import MODELS
from tests.ranks import run_ranks
from tests.tiny import model_cfg
from tests.transfer.coco_tree import CLASSES, write_coco
from tests.transfer.own import copy_config

pytestmark = [
    pytest.mark.detection,
    pytest.mark.skipif(
        not (importlib.util.find_spec('mmdet')
             and importlib.util.find_spec('mmcv._ext')),
        reason="needs pip install -e '.[det]' and tools/build_mmcv_ops.sh")
]

ROOT = Path(__file__).parents[2] / 'configs/transfer/mmdet'
EXAMPLES = sorted(path.stem for path in ROOT.glob('*_coco.py'))
TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48),
    img_size=32,
    patch_size=16)
XCIT = 'xcit_nano_12_p16_224'
SPLITS = {
    'val_dataloader.dataset.ann_file': 'annotations/val.json',
    'val_dataloader.dataset.data_prefix.img': 'val/',
    'test_dataloader.dataset.ann_file': 'annotations/val.json',
    'test_dataloader.dataset.data_prefix.img': 'val/',
}


@pytest.fixture(autouse=True)
def mmdet_scope():
    DefaultScope.get_instance('det', scope_name='mmdet')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Untrained DINOs, their teachers unlike their students."""
    folder = tmp_path_factory.mktemp('det')
    backbones = dict(
        vit=dict(TINY, type='VisionTransformer'),
        resnet50=dict(type='mmpretrain.ResNet', depth=50),
        xcit=dict(type='TimmBackbone', model_name=XCIT))
    with DefaultScope.overwrite_default_scope('mmdino'):
        for name, backbone in backbones.items():
            cfg = dict(model_cfg(), backbone=backbone)
            if name == 'resnet50':
                cfg['neck'] = dict(type='mmpretrain.GlobalAveragePooling')
            model = MODELS.build(cfg)
            assert isinstance(model, DINO)
            for parameter in model.parameters():
                parameter.data *= 1 + .1 * torch.rand_like(parameter)
            torch.save(
                dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder


def tiny(name, folder, checkpoints):
    """The config on the small COCO, with a tiny network."""
    if not (folder / 'data').exists():
        write_coco(folder / 'data')
    cfg = Config.fromfile(ROOT / f'{name}.py')
    cfg.merge_from_dict(SPLITS)
    data_of(cfg.train_dataloader).update(
        ann_file='annotations/train.json', data_prefix=dict(img='train/'))
    number = len(CLASSES)
    if name.startswith('mask'):
        cfg.model.roi_head.bbox_head.num_classes = number
        cfg.model.roi_head.mask_head.num_classes = number
    else:
        cfg.model.bbox_head.num_classes = number
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        data_of(loader).metainfo = dict(classes=CLASSES)
    return shrink(cfg, name, folder, checkpoints)


def shrink(cfg, name, folder, checkpoints):
    """Small networks and images; the data are in folder/data."""
    head, arch, _ = name.split('_')
    shrink_network(cfg.model, arch)
    kind = arch.split('-')[0]
    cfg.model.backbone.init_cfg.checkpoint = str(checkpoints / f'{kind}.pth')
    shrink_heads(cfg.model, head)
    shrink_data(cfg, folder / 'data')
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = []  # no warm-up, hence the small rate
    cfg.optim_wrapper.optimizer.lr = 1e-4
    cfg.auto_scale_lr = None
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = f'{name}_{folder.name}'
    return cfg


def shrink_network(model, arch):
    if arch.startswith('vit'):
        model.backbone.update(TINY)
        if 'window_size' in model.backbone:
            model.backbone.update(window_size=3, global_blocks=(1, 3))
        model.neck.update(embed_dim=24, out_channels=32)
    elif arch.startswith('xcit'):
        model.backbone.update(model_name=XCIT)
        model.neck[0].embed_dim = 128
        model.neck[1].update(in_channels=[32, 64, 128, 128], out_channels=32)
    else:
        model.neck.out_channels = 32


def shrink_heads(model, head):
    # what is not trained yet is scored too
    model.test_cfg.get('rcnn', model.test_cfg).score_thr = 0.
    if head == 'retinanet':
        model.bbox_head.update(
            in_channels=32, feat_channels=32, stacked_convs=1)
        return
    model.rpn_head.update(in_channels=32, feat_channels=32)
    roi = model.roi_head
    roi.bbox_roi_extractor.out_channels = 32
    roi.mask_roi_extractor.out_channels = 32
    roi.bbox_head.update(in_channels=32, fc_out_channels=64)
    roi.mask_head.update(in_channels=32, conv_out_channels=32, num_convs=1)


def shrink_data(cfg, root):
    """No augmentation, so that six images can be learnt by heart."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        data = data_of(loader)
        data.data_root = str(root)
        data.pipeline = [
            dict(step, scale=(128, 128)) if 'scale' in step else step
            for step in data.pipeline
            if step.type not in ('RandomCrop', 'RandomFlip', 'RandomResize',
                                 'RandomChoiceResize')
        ]
    cfg.train_dataloader.dataset = data_of(cfg.train_dataloader)
    cfg.train_dataloader.batch_size = 3
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(root / 'annotations/val.json')


def data_of(loader):
    return loader.dataset.get('dataset', loader.dataset)


def train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, runner.message_hub.log_scalars


@pytest.mark.parametrize('name', EXAMPLES)
def test_trains_and_scores(name, tmp_path, checkpoints):
    cfg = tiny(name, tmp_path, checkpoints)
    if 'xcit' in name:
        cfg.model.backbone.out_indices = (3, 5, 7, 11)
    before = torch.load(cfg.model.backbone.init_cfg.checkpoint)['state_dict']
    runner, logged = train(cfg)
    metrics = ('bbox', 'segm')[:2 if 'mask' in name else 1]
    for metric in metrics:
        assert -1 <= logged[f'val/coco/{metric}_mAP'].current() <= 1
    assert len(logged['train/loss'].data[0]) == 2
    assert logged['train/loss'].current() > 0
    moved = [
        not weight.equal(before[f'teacher.backbone.{key}'])
        for key, weight in runner.model.backbone.state_dict().items()
    ]
    assert sum(moved) > len(moved) / 2


def test_own_classes_are_learnt_by_heart(tmp_path, checkpoints):
    """The config as copied: the same six images, then scored on them."""
    epochs = 30
    cfg = own(tmp_path, checkpoints, epochs)
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.default_hooks.checkpoint.interval = epochs
    runner, logged = train(cfg)
    assert runner.model.roi_head.bbox_head.num_classes == 2
    losses = logged['train/loss'].data[0]
    score = logged['val/coco/bbox_mAP'].current()
    print(f'loss {losses[:3].mean():.2f} to {losses[-5:].mean():.2f}, '
          f'box AP {score:.3f}')
    assert losses[-5:].mean() < .5 * losses[:3].mean()
    assert score > .3


def own(folder, checkpoints, epochs=1, classes=('bottle', 'box')):
    write_coco(folder / 'data', categories=('bottle', 'box'))
    name = 'mask-rcnn_vit-s16_own-classes'
    cfg = copy_config(
        f'mmdet/{name}',
        folder,
        _data_root=str(folder / 'data'),
        _classes=classes,
        _epochs=epochs)
    return shrink(cfg, name, folder, checkpoints)


@pytest.mark.parametrize('classes, message', [
    (('bottle', 'can'), r"train.json has no category \['can'\]"),
    (('box', 'bottle'), r"another order .* classes=\('bottle', 'box'\)"),
])
def test_classes_that_do_not_fit(classes, message, tmp_path, checkpoints):
    with pytest.raises(ValueError, match=message):
        train(own(tmp_path, checkpoints, classes=classes))


def test_another_number_of_classes_is_refused(tmp_path, checkpoints):
    cfg = own(tmp_path, checkpoints)
    cfg.model.roi_head.mask_head.num_classes = 80
    with pytest.raises(ValueError, match='mask_head has num_classes=80'):
        train(cfg)


@pytest.mark.parametrize('name', [
    'retinanet_vit-s16-global_coco', 'retinanet_xcit-s12-p16_coco',
    'mask-rcnn_resnet50_coco'
])
def test_the_neck_gets_the_pretrained_features(name, tmp_path, checkpoints):
    """Every weight of the backbone is the teacher's, and so are the maps."""
    cfg = tiny(name, tmp_path, checkpoints)
    model = MODELS.build(cfg.model)
    model.init_weights()
    state = torch.load(cfg.model.backbone.init_cfg.checkpoint)['state_dict']
    prefix = 'teacher.backbone.'
    wanted = {
        k[len(prefix):]: v
        for k, v in state.items() if k.startswith(prefix)
    }
    weights = model.backbone.state_dict()
    assert weights.keys() == wanted.keys() and len(weights) > 50
    assert all(weights[key].equal(wanted[key]) for key in wanted)
    if 'vit' in name:
        plain = VisionTransformer(**TINY)
        plain.load_state_dict(wanted, strict=True)
        images = torch.rand(1, 3, 96, 64)
        maps, = model.eval().backbone(images)
        tokens, = plain.eval().last_blocks(images)
        assert maps.flatten(2).mT.equal(tokens[:, 1:])


@pytest.mark.parametrize('changes, message', [
    (dict(checkpoint=None), 'no checkpoint to start from.*init_cfg'),
    (dict(checkpoint='nowhere.pth'), "no checkpoint 'nowhere.pth'"),
    (dict(prefix='student.'), 'holds no student'),
    (dict(patch_size=8), 'does not fit.*patch_embed'),
])
def test_what_does_not_fit_is_refused(changes, message, tmp_path, checkpoints):
    cfg = tiny('mask-rcnn_vit-s16_coco', tmp_path, checkpoints)
    backbone = cfg.model.backbone
    for key, value in changes.items():
        (backbone if key in backbone else backbone.init_cfg)[key] = value
    model = MODELS.build(cfg.model)
    with pytest.raises((ValueError, FileNotFoundError),
                       match=f'(?s){message}'):
        model.init_weights()


def test_layer_decay(tmp_path, checkpoints):
    cfg = tiny('mask-rcnn_vit-s16_coco', tmp_path, checkpoints)
    runner = Runner.from_cfg(cfg)
    groups = runner.build_optim_wrapper(
        cfg.optim_wrapper).optimizer.param_groups
    rates = {group['param_name']: group['lr'] for group in groups}
    assert len(rates) == len(list(runner.model.parameters()))
    for name, exponent in (('backbone.pos_embed',
                            5), ('backbone.layers.0.attn.qkv.weight',
                                 4), ('backbone.layers.3.attn.qkv.bias',
                                      1), ('neck.convs.0.0.weight', 0),
                           ('rpn_head.rpn_conv.weight', 0)):
        assert rates[name] == pytest.approx(1e-4 * .7**exponent), name


def _train_on_a_rank(rank, folder, checkpoints):
    # its class attention gets no gradient
    cfg = tiny('retinanet_xcit-s12-p16_coco', folder, checkpoints)
    cfg.launcher = 'pytorch'
    distribute_on_cpu(cfg)
    _, logged = train(cfg)
    assert -1 <= logged['val/coco/bbox_mAP'].current() <= 1


def test_two_processes_without_gpus(tmp_path, checkpoints):
    write_coco(tmp_path / 'data')
    run_ranks(_train_on_a_rank, tmp_path, checkpoints)


@pytest.mark.parametrize('name', EXAMPLES)
def test_full_size_networks(name):
    """Widths, strides and levels fit one another."""
    cfg = Config.fromfile(ROOT / f'{name}.py')
    assert cfg.model.backbone.init_cfg.prefix == 'teacher.backbone.'
    assert cfg.auto_scale_lr.enable
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    model.eval()
    with torch.no_grad():
        levels = model.extract_feat(torch.zeros(1, 3, 128, 256))
    first = 4 if name.startswith('mask') else 8
    assert [tuple(x.shape[1:]) for x in levels
            ] == [(256, -(-128 // stride), -(-256 // stride))
                  for stride in (first * 2**i for i in range(5))]
