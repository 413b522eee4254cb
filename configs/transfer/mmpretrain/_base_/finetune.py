# Fine-tuning as DeiT does it, which DINO follows: AdamW, cosine, RandAugment,
# mixup, cutmix, label smoothing, repeated augmentation; the new layer starts
# near zero. The checkpoint tells the network, a ViT of any size. Files beside
# this folder give data, learning rate and epochs.
#   python tools/train.py configs/transfer/mmpretrain/finetune_cifar10.py \
#       --checkpoint CHECKPOINT
# The authors decay no learning rates over the layers; to do so:
#   optim_wrapper.paramwise_cfg.layer_decay_rate=0.75
_base_ = '../../../_base_/default_runtime.py'
custom_imports = dict(
    imports=['mmdino.transfer.classes'], allow_failed_imports=False)

model = dict(
    type='PretrainedClassifier',
    checkpoint=None,
    drop_path_rate=0.1,  # DeiT's, of ViT-S as of ViT-B
    data_preprocessor=dict(
        # mean and std are the checkpoint's
        type='mmpretrain.ClsDataPreprocessor',
        to_rgb=True),
    head=dict(
        type='mmpretrain.VisionTransformerClsHead',
        loss=dict(
            type='mmpretrain.LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original'),
        # 0.02 scaled down to a thousandth
        init_cfg=dict(type='TruncNormal', layer='Linear', std=2e-5)),
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.8),
        dict(type='CutMix', alpha=1.0)
    ]))

# After loading; mmpretrain's random erasing and policies know BGR uint8.
_train_steps = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=224,
        backend='pillow',
        interpolation='bicubic'),
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        # its policies are named without their scope
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
