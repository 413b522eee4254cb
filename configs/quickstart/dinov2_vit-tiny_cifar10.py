# DINOv2 on 10,000 images of CIFAR-10, on two CPU cores: dino_vit-tiny_cifar10
# with masked patches and KoLeo.
_base_ = [
    '../_base_/models/dinov2_vit.py',
    '../_base_/datasets/cifar10_multi_crop.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=96,
            num_layers=3,
            num_heads=3,
            feedforward_channels=192),
        img_size=32,
        patch_size=4,
        stem=dict(type='ConvStem'),
        # Three blocks have to do something from the start.
        layer_scale_init_value=0.,
        cls_token_std=0.02,
        drop_path_rate=0.),
    head=dict(
        out_dim=256,
        hidden_channels=256,
        bottleneck_channels=32,
        use_bn=True,
        norm_last_layer=True),
    # Of its own: a head of masked patches has no BatchNorm.
    patch_head=dict(
        type='DINOHead',
        out_dim=256,
        hidden_channels=256,
        bottleneck_channels=32),
    predict_attention=True)

train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        with_label=True,
        images_per_class=1000,
        pipeline=dict(views=dict(local=dict(num_views=0)))))
val_dataloader = dict(dataset=dict(images_per_class=200))
val_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=1000)))

train_cfg = dict(max_epochs=18, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=3e-3))  # 1.5e-3 at a batch of 128
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    checkpoint=dict(interval=18))
