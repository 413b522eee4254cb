# Fine-tune a ViT on your own classes. Copy this file and change the three
# lines below. The data:
#   DATA/{train,val}/CLASS/NAME.jpg    any number of classes, the same in both
# The learning rate is for a batch of 768 and is scaled to yours.
_data_root = 'data/my_folders'
_num_classes = 3
_epochs = 1000  # 3 or more; 1000 is the authors' number for CIFAR-10

_base_ = 'mmdino::transfer/mmpretrain/_base_/finetune.py'

model = dict(head=dict(num_classes=_num_classes))

train_dataloader = dict(
    drop_last=False,  # a small data set may have less than one batch
    dataset=dict(
        type='Images',
        data_root=_data_root,
        subset='train',
        with_label=True,
        pipeline=[dict(type='LoadImage'), *_base_._train_steps]))
val_dataloader = dict(
    dataset=dict(
        type='Images',
        data_root=_data_root,
        subset='val',
        with_label=True,
        pipeline=[dict(type='LoadImage'), *_base_._test_steps]))
test_dataloader = dict(dataset=val_dataloader['dataset'])
val_evaluator = dict(topk=(1, ))
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=_epochs)
# A warm-up of a single iteration would never end: two epochs or more.
_warm_up = min(5, max(2, _epochs // 10))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        end=_warm_up,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=_warm_up,
        by_epoch=True,
        convert_to_iter_based=True)
]
