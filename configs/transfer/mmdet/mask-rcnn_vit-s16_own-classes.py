# Mask R-CNN on a ViT-S/16, for your own classes in COCO's format. Copy this
# file and change the three lines below. The data:
#   DATA/{train,val}/NAME.jpg
#   DATA/annotations/{train,val}.json    with these categories in this order
# For boxes without masks, inherit
# mmdino::transfer/mmdet/retinanet_vit-s16-global_coco.py and set the
# num_classes of its model.bbox_head.
_data_root = 'data/my_coco/'
_classes = ('cat', 'dog')
_epochs = 25  # 3 or more; each sees every image four times

_base_ = 'mmdino::transfer/mmdet/mask-rcnn_vit-s16_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=len(_classes)),
        mask_head=dict(num_classes=len(_classes))))

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=_data_root,
            ann_file='annotations/train.json',
            data_prefix=dict(img='train/'),
            metainfo=dict(classes=_classes))))
val_dataloader = dict(
    dataset=dict(
        data_root=_data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        metainfo=dict(classes=_classes)))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{_data_root}/annotations/val.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=_epochs)
param_scheduler = [
    # COCO's 500 iterations can be longer than a training on few images.
    dict(
        type='LinearLR',
        start_factor=0.067,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        milestones=[_epochs * 22 // 25, _epochs * 24 // 25],
        gamma=0.1)
]
