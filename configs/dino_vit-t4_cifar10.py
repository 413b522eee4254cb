# A small ViT with patches of 4 px on CIFAR-10 (32 px), for one GPU: 200 epochs
# with 512 images a step. data/cifar10.zip holds cifar10/{train,test}/CLASS/
# *.jpg; a folder works as well. There are no published results for it.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/cifar10_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=192,
            num_layers=9,
            num_heads=12,
            feedforward_channels=768),
        img_size=32,
        patch_size=4),
    # Ten classes need fewer prototypes than a thousand. BatchNorm in the head
    # prevents a collapse with small batches.
    head=dict(out_dim=4096, hidden_channels=1024, use_bn=True))

train_dataloader = dict(batch_size=512)
train_cfg = dict(max_epochs=200)
default_hooks = dict(
    # With only 97 steps an epoch, the teacher must follow faster than on
    # ImageNet.
    teacher=dict(momentum=0.99),
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30),
    checkpoint=dict(interval=10))
