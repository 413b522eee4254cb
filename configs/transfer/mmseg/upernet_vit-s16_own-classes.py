# UPerNet on a fine-tuned ViT-S/16, for your own classes. Copy this file and
# change the three lines below. The data:
#   DATA/images/{train,val}/NAME.jpg    images of any size
#   DATA/masks/{train,val}/NAME.png     of the same size, with one channel or a
#       palette: the value of a pixel is the index of its class, from 0; 255
#       means not labelled
# For another head, inherit another file of _base_/ (only UPerNet has an
# auxiliary_head).
_data_root = 'data/my_masks'
_classes = {
    'background': (0, 0, 0),
    'road': (128, 64, 128),
    'car': (0, 0, 142)
}
_iterations = 20000  # 10 or more, with 16 images each

_base_ = 'mmdino::transfer/mmseg/_base_/upernet_vit-s16.py'

model = dict(
    decode_head=dict(num_classes=len(_classes)),
    auxiliary_head=dict(num_classes=len(_classes)))

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        data_root=_data_root,
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        metainfo=dict(classes=list(_classes), palette=list(_classes.values())),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(
                type='RandomResize',
                scale=(2048, 512),
                ratio_range=(0.5, 2.0),
                keep_ratio=True),
            dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs')
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root=_data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        metainfo=dict(classes=list(_classes), palette=list(_classes.values())),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(2048, 512), keep_ratio=True),
            # after Resize, so that it is scored at its own size
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

_warm_up = min(1500, max(2, _iterations // 10))  # one never ends
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=_warm_up),
    dict(
        type='PolyLR', power=1.0, eta_min=0.0, begin=_warm_up, by_epoch=False)
]
_interval = max(1, _iterations // 10)  # of validations and checkpoints
train_cfg = dict(max_iters=_iterations, val_interval=_interval)
default_hooks = dict(
    checkpoint=dict(interval=_interval, max_keep_ckpts=2, save_best='mIoU'))
