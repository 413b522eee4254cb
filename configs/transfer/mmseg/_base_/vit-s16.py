# A segmentor on a DINO ViT-S/16, which loads all of the teacher's weights or
# raises an error, and a schedule to fine-tune it as BEiT and MAE do: AdamW
# with layer-wise decay of the learning rate. The files beside this one add the
# head.
_base_ = [
    'mmseg::_base_/schedules/schedule_160k.py',
    'mmseg::_base_/default_runtime.py'
]
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.datasets', 'mmdino.engine',
        'mmdino.transfer.classes', 'mmdino.transfer.segmentation'
    ],
    allow_failed_imports=False)

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        # images are padded to whole patches, and predictions cropped again
        test_cfg=dict(size_divisor=16)),
    backbone=dict(
        type='mmdino.VisionTransformer',
        arch='deit-small',
        patch_size=16,
        img_size=512,
        out_type='featmap',
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmdino.BackboneLayerDecayConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={
            '.cls_token': dict(decay_mult=0.),
            '.pos_embed': dict(decay_mult=0.),
            '.register_tokens': dict(decay_mult=0.),
            '.mask_token': dict(decay_mult=0.)
        }))
# The second scheduler ends with the training, at train_cfg.max_iters.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, by_epoch=False)
]
# The learning rate is for a batch of 16 images over all GPUs.
auto_scale_lr = dict(enable=True, base_batch_size=16)

custom_hooks = [dict(type='mmdino.NumClassesHook')]
randomness = dict(seed=0)
