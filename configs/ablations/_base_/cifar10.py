# CIFAR-10 at CPU size, a minute and a half a row on a free core: a ViT of two
# blocks, patches of 8 px and 2,000 images.
#   python tools/ablate.py TABLE --base cifar10 --data DIR
_base_ = [
    '../../_base_/models/dino_vit.py',
    '../../_base_/datasets/cifar10_multi_crop.py',
    '../../_base_/schedules/adamw_100e.py',
    '../../_base_/hooks/dino.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=48,
            num_layers=2,
            num_heads=3,
            feedforward_channels=96),
        img_size=32,
        patch_size=8,
        stem=dict(type='ConvStem'),
        drop_path_rate=0.),
    head=dict(
        out_dim=256, hidden_channels=256, bottleneck_channels=32, use_bn=True),
    predict_attention=False)

# Two global views alone: half as many steps would fit with local ones.
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        with_label=True,
        images_per_class=200,
        pipeline=dict(views=dict(local=dict(num_views=0)))))
val_dataloader = dict(dataset=dict(images_per_class=200))
val_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=1000)))
test_dataloader = dict(dataset=dict(images_per_class=100))
test_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=200)))
test_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    # Logistic regression on all labels: seconds, where SGD takes minutes.
    dict(type='LowShotAccuracy', C=(100., ))
]

# 930 steps, after which one of centring and sharpening alone has collapsed.
train_cfg = dict(max_epochs=30, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # 1e-3 at a batch of 64
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    checkpoint=dict(interval=18),
    logger=dict(interval=5),
    collapse=dict(interval=15, begin=2))
