# ResNet-50, 100 epochs of SGD. 8 GPUs x 64 images.
_base_ = [
    '_base_/models/dino_resnet50.py',
    '_base_/datasets/imagenet_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.14, 1.0))),
                global_2=dict(crop=dict(scale=(0.14, 1.0))),
                local=dict(crop=dict(scale=(0.05, 0.14)))))))

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(end_weight_decay=None)
