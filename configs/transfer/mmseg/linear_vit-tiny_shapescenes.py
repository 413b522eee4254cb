# One linear layer on the quickstart's frozen patch tokens finds the pixels of
# background, disc, square, ... It takes about two minutes on a CPU.
#   bash tools/transfer/seg_train.sh \
#       configs/transfer/mmseg/linear_vit-tiny_shapescenes.py \
#       work_dirs/quickstart/epoch_60.pth 1
# For the untrained network: python tools/train.py THIS_FILE --cfg-options
#   model.backbone.init_cfg=None
_base_ = ['_base_/linear_vit-s16.py', '../../_base_/models/vit-tiny.py']

model = dict(
    data_preprocessor=dict(size=(64, 64), test_cfg=dict(size_divisor=8)),
    # as in pretraining
    backbone=dict(
        _base_._vit_tiny, stem=dict(type='mmdino.ConvStem'), frozen_stages=2),
    decode_head=dict(in_channels=96, channels=96, num_classes=11),
    test_cfg=dict(_delete_=True, mode='whole'))

# Images of 48 px, enlarged as for the quickstart's k-NN and scored at 48 px.
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmdino.ShapeSegmentation',
        num_images=2000,
        split='train',
        pipeline=[
            dict(type='Resize', scale=(64, 64)),
            dict(type='PackSegInputs')
        ]))
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdino.ShapeSegmentation',
        num_images=1000,
        split='val',
        pipeline=[
            dict(type='mmpretrain.ResizeEdge', scale=64),
            dict(type='PackSegInputs')
        ]))
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(max_iters=1500, val_interval=500)
auto_scale_lr = dict(enable=False)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=1500, eta_min=0.)
]
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=500, max_keep_ckpts=1))
randomness = dict(seed=0)
