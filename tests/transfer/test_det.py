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
from mmdino.utils.resources import find_toolboxes
from tests.ranks import run_ranks
from tests.tiny import model_cfg
from tests.transfer.coco_tree import CLASSES, write_coco

pytestmark = [
    pytest.mark.detection,
    pytest.mark.skipif(
        not (importlib.util.find_spec('mmdet')
             and importlib.util.find_spec('mmcv._ext')),
        reason="needs pip install -e '.[det]' and tools/build_mmcv_ops.sh")
]

ROOT = Path(__file__).parents[2] / 'configs/transfer/mmdet'
LEAVES = sorted(path.stem for path in ROOT.glob('*.py'))
HEADS = ('mask-rcnn', 'retinanet')
VITS = ('vit-s16', 'vit-s8', 'vit-b16')
ARCHS = (*VITS, *(f'{vit}-global' for vit in VITS), 'resnet50', 'xcit-s12-p16',
         'xcit-s12-p8', 'xcit-m24-p16', 'xcit-m24-p8')
TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48),
    img_size=32,
    patch_size=16)
XCIT = 'xcit_nano_12_p16_224'


@pytest.fixture(autouse=True)
def mmdet_scope():
    find_toolboxes()
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
    head, arch, _ = name.split('_')
    root = folder / 'coco'
    if not root.exists():
        write_coco(root)
    cfg = Config.fromfile(ROOT / f'{name}.py')
    shrink_network(cfg.model, arch)
    kind = arch.split('-')[0]
    cfg.model.backbone.init_cfg.checkpoint = str(checkpoints / f'{kind}.pth')
    shrink_heads(cfg.model, head)
    shrink_data(cfg, root)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = []  # no warm-up, hence the small rate
    cfg.optim_wrapper.optimizer.lr = 1e-4
    cfg.auto_scale_lr = None
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(folder / 'work' / name)
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
            num_classes=2, in_channels=32, feat_channels=32, stacked_convs=1)
        return
    model.rpn_head.update(in_channels=32, feat_channels=32)
    roi = model.roi_head
    roi.bbox_roi_extractor.out_channels = 32
    roi.mask_roi_extractor.out_channels = 32
    roi.bbox_head.update(num_classes=2, in_channels=32, fc_out_channels=64)
    roi.mask_head.update(
        num_classes=2, in_channels=32, conv_out_channels=32, num_convs=1)


def shrink_data(cfg, root):
    """No augmentation, so that six images can be learnt by heart."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        data = loader.dataset
        data = data.get('dataset', data)
        data.update(data_root=str(root), metainfo=dict(classes=CLASSES))
        data.pipeline = [
            dict(step, scale=(128, 128)) if 'scale' in step else step
            for step in data.pipeline
            if step.type not in ('RandomCrop', 'RandomFlip', 'RandomResize',
                                 'RandomChoiceResize')
        ]
    cfg.train_dataloader.dataset = data_of(cfg.train_dataloader)
    cfg.train_dataloader.batch_size = 3
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(root / 'annotations/instances_val2017.json')


def data_of(loader):
    return loader.dataset.get('dataset', loader.dataset)


def train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, runner.message_hub.log_scalars


@pytest.mark.parametrize('name', [
    'mask-rcnn_vit-s16_coco', 'mask-rcnn_resnet50_coco',
    'mask-rcnn_xcit-s12-p16_coco', 'retinanet_vit-s16-global_coco',
    'retinanet_resnet50_coco', 'retinanet_xcit-m24-p16_coco'
])
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


@pytest.mark.parametrize('name, epochs',
                         [('mask-rcnn_vit-s16_coco', 120),
                          ('retinanet_vit-s16-global_coco', 40)])
def test_over_fits_its_images(name, epochs, tmp_path, checkpoints):
    """The same six images again and again, then scored on them."""
    cfg = tiny(name, tmp_path, checkpoints)
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.default_hooks.checkpoint.interval = epochs
    _, logged = train(cfg)
    losses = logged['train/loss'].data[0]
    score = logged['val/coco/bbox_mAP'].current()
    print(f'{name}: loss {losses[:3].mean():.2f} to {losses[-5:].mean():.2f}, '
          f'box AP {score:.3f}')
    assert losses[-5:].mean() < .5 * losses[:3].mean()
    assert score > .3


@pytest.mark.parametrize('name', [
    'mask-rcnn_vit-s16-global_coco', 'retinanet_xcit-s12-p16_coco',
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
    (dict(patch_size=8), 'do not fit.*patch_embed'),
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
    find_toolboxes()
    # its class attention gets no gradient
    cfg = tiny('retinanet_xcit-s12-p16_coco', folder, checkpoints)
    cfg.launcher = 'pytorch'
    distribute_on_cpu(cfg)
    _, logged = train(cfg)
    assert -1 <= logged['val/coco/bbox_mAP'].current() <= 1


def test_two_processes_without_gpus(tmp_path, checkpoints):
    write_coco(tmp_path / 'coco')
    run_ranks(_train_on_a_rank, tmp_path, checkpoints)


def test_all_combinations_are_there():
    assert set(LEAVES) == {
        f'{head}_{arch}_coco'
        for head in HEADS
        for arch in ARCHS
    }


@pytest.mark.parametrize('name', LEAVES)
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
