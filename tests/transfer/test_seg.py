"""Segmentation by config, trained by mmseg on small trees."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dist import all_gather
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmdino.datasets import ShapeScenes, ShapeSegmentation
from mmdino.engine.launch import distribute_on_cpu
from mmdino.engine.optim import BackboneLayerDecayConstructor
from mmdino.models import DINO, ResNet, VisionTransformer
from mmdino.registry import MODELS
from mmdino.transfer.segmentation import LinearSegHead
from tests.ranks import run_ranks
from tests.tiny import model_cfg
from tests.transfer.seg_trees import NUM, write_ade20k

ROOT = Path(__file__).parents[2] / 'configs/transfer/mmseg'
EXAMPLES = sorted(path.stem for path in ROOT.glob('*_ade20k.py'))
TINY = dict(
    arch=dict(
        embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48),
    img_size=32,
    patch_size=8)


@pytest.fixture(autouse=True)
def mmseg_scope():
    DefaultScope.get_instance('seg', scope_name='mmseg')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Untrained DINOs, their teachers unlike their students."""
    folder = tmp_path_factory.mktemp('seg')
    backbones = dict(
        vit=dict(TINY, type='VisionTransformer'),
        resnet=dict(type='mmpretrain.ResNet', depth=50))
    with DefaultScope.overwrite_default_scope('mmdino'):
        for name, backbone in backbones.items():
            cfg = dict(model_cfg(), backbone=backbone)
            if name == 'resnet':
                cfg['neck'] = dict(type='mmpretrain.GlobalAveragePooling')
            model = MODELS.build(cfg)
            assert isinstance(model, DINO)
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=.05)
            torch.save(
                dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder


def tiny(name, folder, checkpoints):
    """The config on small crops of the tree, with the tiny ViT."""
    if not (folder / 'data').exists():
        write_ade20k(folder / 'data')
    head, arch, _ = name.split('_')
    kind = 'resnet' if arch == 'resnet50' else 'vit'
    cfg = Config.fromfile(ROOT / f'{name}.py')
    cfg.param_scheduler = []
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    return shrink(cfg, head, folder, checkpoints / f'{kind}.pth')


def shrink(cfg, head, folder, checkpoint):
    """Small networks, crops and batches; the data are in folder/data."""
    if checkpoint.stem == 'vit':
        shrink_vit(cfg, head)
    cfg.model.backbone.init_cfg.checkpoint = str(checkpoint)
    shrink_heads(cfg.model)
    cfg.model.data_preprocessor.size = (64, 64)
    cfg.model.test_cfg.update(crop_size=(64, 64), stride=(40, 40))
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(folder / 'data')
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                step['scale'] = (128, 64)
            if 'crop_size' in step:
                step['crop_size'] = (64, 64)
    cfg.train_dataloader.batch_size = NUM
    cfg.auto_scale_lr = None
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = f'{head}_{folder.name}'
    return cfg


def shrink_vit(cfg, head):
    indices = cfg.model.backbone.get('out_indices')
    cfg.model.backbone.update(TINY)
    if indices:
        cfg.model.backbone.out_indices = (0, 1, 2, 3)
    if 'frozen_stages' in cfg.model.backbone:
        cfg.model.backbone.frozen_stages = 4
    changes = dict(
        linear=dict(in_channels=24, channels=24),
        linear4=dict(in_channels=[24] * 4),
        upernet=dict(in_channels=[24] * 4),
        segmenter=dict(
            in_channels=24, channels=24, embed_dims=24, num_heads=2),
        fpn={})
    cfg.model.decode_head.update(changes[head])
    if head == 'fpn':
        cfg.model.neck[0].embed_dim = 24
        cfg.model.neck[1].in_channels = [24] * 4
    elif head == 'upernet':
        cfg.model.neck.embed_dim = 24
    if 'auxiliary_head' in cfg.model:
        cfg.model.auxiliary_head.in_channels = 24


def shrink_heads(model):
    if model.decode_head.type == 'FPNHead':
        fpn = model.neck if isinstance(model.neck, dict) else model.neck[-1]
        fpn.out_channels = 16
        model.decode_head.update(in_channels=[16] * 4, channels=16)
    for name in ('decode_head', 'auxiliary_head'):
        if model.get(name, {}).get('type') in ('UPerHead', 'FCNHead') and (
                name == 'auxiliary_head' or model[name].type == 'UPerHead'):
            model[name].channels = 16


def train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, runner.message_hub.log_scalars


@pytest.mark.parametrize('name', [
    'linear_vit-s16_ade20k', 'upernet_resnet50_ade20k',
    *(pytest.param(name, marks=pytest.mark.slow)
      for name in ('fpn_vit-s16_ade20k', 'segmenter_vit-s16_ade20k',
                   'linear_resnet50_ade20k'))
])
def test_trains_and_scores(name, tmp_path, checkpoints):
    cfg = tiny(name, tmp_path, checkpoints)
    before = torch.load(cfg.model.backbone.init_cfg.checkpoint)['state_dict']
    runner, logged = train(cfg)
    assert 0 <= logged['val/mIoU'].current() <= 100
    assert logged['train/loss'].current() > 0
    frozen = name.startswith('linear')
    same = [
        weight.equal(before[f'teacher.backbone.{key}'])
        for key, weight in runner.model.backbone.state_dict().items()
    ]
    assert all(same) if frozen else not all(same)


def test_the_head_sees_the_pretrained_features(tmp_path, checkpoints):
    cfg = tiny('linear_vit-s16_ade20k', tmp_path, checkpoints)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    with DefaultScope.overwrite_default_scope('mmdino'):
        dino = MODELS.build(
            dict(model_cfg(), backbone=dict(TINY, type='VisionTransformer')))
    dino.load_state_dict(
        torch.load(checkpoints / 'vit.pth')['state_dict'], strict=True)
    images = torch.rand(2, 3, 64, 40)
    maps, = model.extract_feat(images)
    tokens, = dino.teacher.backbone.last_blocks(images, 1)
    assert maps.shape == (2, 24, 8, 5)
    assert maps.flatten(2).mT.equal(tokens[:, 1:])


def test_the_checkpoint_of_a_resnet_is_loaded_whole(tmp_path, checkpoints):
    cfg = tiny('linear_resnet50_ade20k', tmp_path, checkpoints)
    model = MODELS.build(cfg.model)
    model.init_weights()
    state = torch.load(checkpoints / 'resnet.pth')['state_dict']
    weights = model.backbone.state_dict()
    assert isinstance(model.backbone, ResNet) and len(weights) > 300
    for name, weight in weights.items():
        assert weight.equal(state[f'teacher.backbone.{name}'])


@pytest.mark.parametrize('changes, message', [
    (dict(checkpoint=None), 'no checkpoint to start from.*init_cfg'),
    (dict(checkpoint='nowhere.pth'), "no checkpoint 'nowhere.pth'"),
    (dict(prefix='student.'), 'holds no student'),
    (dict(prefix='teacher.'), 'does not fit VisionTransformer'),
    (dict(patch_size=4), 'does not fit.*patch_embed'),
])
def test_what_does_not_fit_is_refused(changes, message, tmp_path, checkpoints):
    cfg = tiny('linear_vit-s16_ade20k', tmp_path, checkpoints)
    backbone = cfg.model.backbone
    for key, value in changes.items():
        (backbone if key in backbone else backbone.init_cfg)[key] = value
    model = MODELS.build(cfg.model)
    with pytest.raises((ValueError, FileNotFoundError),
                       match=f'(?s){message}'):
        model.init_weights()


@pytest.mark.parametrize('size', [(61, 100), (40, 33), (64, 64)])
def test_any_image_size(size, tmp_path, checkpoints):
    """Sliding windows over what is no multiple of patch or window."""
    cfg = tiny('linear_vit-s16_ade20k', tmp_path, checkpoints)
    model = MODELS.build(cfg.model).eval()
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    image = torch.randint(256, (3, *size), dtype=torch.uint8)
    with torch.no_grad():
        result, = model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert result.pred_sem_seg.data.shape == (1, *size)
    assert result.seg_logits.data.shape == (150, *size)


def test_layer_decay(tmp_path, checkpoints):
    """Depth 4: embedding, four blocks, what follows them."""
    cfg = tiny('upernet_vit-s8_ade20k', tmp_path, checkpoints)
    cfg.optim_wrapper.paramwise_cfg.layer_decay_rate = .5
    runner = Runner.from_cfg(cfg)
    groups = runner.build_optim_wrapper(
        cfg.optim_wrapper).optimizer.param_groups
    found = {g['param_name']: (g['lr'], g['weight_decay']) for g in groups}
    assert len(found) == len(list(runner.model.parameters()))
    for name, exponent, decay in (('backbone.pos_embed', 5,
                                   0.), ('backbone.cls_token', 5, 0.),
                                  ('backbone.patch_embed.projection.weight', 5,
                                   .05), ('backbone.layers.0.attn.qkv.weight',
                                          4, .05),
                                  ('backbone.layers.3.attn.qkv.bias', 1,
                                   0.), ('backbone.ln1.weight', 0, 0.),
                                  ('decode_head.conv_seg.weight', 0, .05),
                                  ('neck.upsample_2x.0.weight', 0, .05)):
        lr, weight_decay = found[name]
        assert lr == pytest.approx(1e-4 * .5**exponent), name
        assert weight_decay == decay, name


def test_layer_decay_needs_depths():
    model = torch.nn.Module()
    model.backbone = torch.nn.Linear(1, 1)
    constructor = BackboneLayerDecayConstructor(
        dict(optimizer=dict(type='SGD', lr=1.)), dict(layer_decay_rate=.5))
    with pytest.raises(ValueError, match='Linear has none'):
        constructor(model)


def test_frozen_stages_stay_in_eval_mode():
    backbone = VisionTransformer(**TINY, frozen_stages=4, drop_path_rate=.5)
    backbone.train()
    assert not any(layer.training for layer in backbone.layers)
    assert not any(p.requires_grad for p in backbone.parameters())
    backbone = VisionTransformer(**TINY, drop_path_rate=.5).train()
    assert all(layer.training for layer in backbone.layers)


def test_a_frozen_stem_is_frozen_from_the_start():
    backbone = VisionTransformer(
        **TINY, frozen_stages=4, stem=dict(type='mmdino.ConvStem'))
    assert not any(p.requires_grad for p in backbone.parameters())


def test_shapes_are_told_from_their_background():
    data = ShapeSegmentation(num_images=20)
    item = data.get_data_info(13)
    assert data.metainfo['classes'][:2] == ('background', 'disc')
    assert set(np.unique(item['gt_seg_map'])) == {0, 4}
    scene = ShapeScenes(num_images=20).get_data_info(13)
    assert (item['img'] == scene['img']).all()
    assert ((item['gt_seg_map'] > 0) == scene['gt_mask']).all()


def test_linear_head_is_batch_norm_and_a_matrix():
    head = LinearSegHead([3, 5], [0, 1],
                         norm_cfg=dict(type='BN'),
                         num_classes=4,
                         align_corners=False).double().train()
    maps = [torch.randn(2, 3, 6, 4).double(), torch.randn(2, 5, 3, 2).double()]
    large = torch.nn.functional.interpolate(
        maps[1], size=(6, 4), mode='bilinear')
    x = torch.cat([maps[0], large], 1)
    mean = x.mean((0, 2, 3), keepdim=True)
    x = (x - mean) / (x.var(
        (0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    weight = head.conv_seg.weight[:, :, 0, 0]
    wanted = torch.einsum('bdhw,kd->bkhw', x, weight)
    wanted = wanted + head.conv_seg.bias[:, None, None]
    torch.testing.assert_close(head(maps), wanted)


@pytest.mark.parametrize('name', EXAMPLES)
def test_full_size_networks(name):
    """Widths and strides fit one another; at 64 px, the rest as configured."""
    cfg = Config.fromfile(ROOT / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 64, 96))
    assert logits.shape[:2] == (1, 150)
    head, arch, _ = name.split('_')
    stride = 64 // logits.shape[-2]
    if head in ('fpn', 'upernet'):
        assert stride == 4
    else:
        assert stride == (8 if arch == 'resnet50' else 16)


def test_the_schedule_ends_with_the_training(tmp_path, checkpoints):
    cfg = tiny('upernet_vit-s8_ade20k', tmp_path, checkpoints)
    cfg.param_scheduler = Config.fromfile(
        ROOT / 'upernet_vit-s8_ade20k.py').param_scheduler
    cfg.train_cfg.max_iters = 5000
    runner = Runner.from_cfg(cfg)
    runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    warm_up, decay = runner.build_param_scheduler(cfg.param_scheduler)
    assert (warm_up.end, decay.begin, decay.end) == (1500, 1500, 5000)


def _train_on_a_rank(rank, folder, checkpoints):
    cfg = tiny('linear4_vit-s16_ade20k', folder, checkpoints)
    assert cfg.model.decode_head.norm_cfg.type == 'SyncBN'
    cfg.launcher = 'pytorch'
    distribute_on_cpu(cfg)
    runner, logged = train(cfg)
    scores = torch.tensor([
        logged['val/mIoU'].current(),
        *runner.model.module.decode_head.conv_seg.weight.flatten().tolist()
    ])
    all_scores = all_gather(scores)
    assert all_scores[0].equal(all_scores[1]) and 0 <= scores[0] <= 100


def test_two_processes_without_gpus(tmp_path, checkpoints):
    write_ade20k(tmp_path / 'data')
    run_ranks(_train_on_a_rank, tmp_path, checkpoints)
