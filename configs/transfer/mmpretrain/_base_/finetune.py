# Fine-tuning as in DeiT, which DINO follows: AdamW with a cosine schedule,
# RandAugment, mixup, cutmix, label smoothing and repeated augmentation. The
# new linear layer starts near zero. The network, a ViT of any size, is stored
# in the checkpoint. The files beside this folder set data, learning rate and
# epochs.
#   python tools/train.py configs/transfer/mmpretrain/finetune_cifar10.py \
#       --checkpoint CHECKPOINT
# The authors use no layer-wise decay of the learning rate; to use it:
#   optim_wrapper.paramwise_cfg.layer_decay_rate=0.75
_base_ = '../../../_base_/default_runtime.py'
custom_imports = dict(
    imports=['mmdino.transfer.classes'], allow_failed_imports=False)

model = dict(
    type='PretrainedClassifier',
    checkpoint=None,
    drop_path_rate=0.1,  # as in DeiT, for ViT-S and ViT-B
    data_preprocessor=dict(
        # mean and std are stored in the checkpoint
        type='mmpretrain.ClsDataPreprocessor',
        to_rgb=True),
    head=dict(
        type='mmpretrain.VisionTransformerClsHead',
        loss=dict(
            type='mmpretrain.LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original'),
        # a thousandth of the usual 0.02
        init_cfg=dict(type='TruncNormal', layer='Linear', std=2e-5)),
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.8),
        dict(type='CutMix', alpha=1.0)
    ]))

# Steps after loading; mmpretrain's random erasing and policies need BGR uint8.
_train_steps = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=224,
        backend='pillow',
        interpolation='bicubic'),
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        # sets the scope of its policies, which are named without one
        _scope_='mmpretrain',
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395]),
    dict(type='mmpretrain.PackInputs'),
]
_test_steps = [
    dict(
        type='mmpretrain.ResizeEdge',
        scale=256,
        edge='short',
        backend='pillow',
        interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]

# 8 GPUs x 96 images = 768
train_dataloader = dict(
    batch_size=96,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmpretrain.RepeatAugSampler', shuffle=True),
    collate_fn=dict(type='default_collate'))
val_dataloader = dict(
    batch_size=96,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
test_dataloader = dict(
    batch_size=96,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=1000, val_interval=10)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(enable=True, base_batch_size=768)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=7.5e-6, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=1.0,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={
            '.cls_token': dict(decay_mult=0.),
            '.pos_embed': dict(decay_mult=0.),
            '.register_tokens': dict(decay_mult=0.),
            '.mask_token': dict(decay_mult=0.)
        }))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        begin=0,
        end=5,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=5,
        by_epoch=True,
        convert_to_iter_based=True)
]

default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    network=dict(type='NetworkHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=10,
        max_keep_ckpts=1,
        save_best='accuracy/top1',
        rule='greater'))
custom_hooks = [dict(type='ClassesHook'), dict(type='NumClassesHook')]
