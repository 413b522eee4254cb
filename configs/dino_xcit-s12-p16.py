# XCiT-S12/16. Published: k-NN 76.0, linear 77.8. The authors released the
# weights without their settings: the recipe is that of the released ViT-S/16.
# 16 GPUs x 64 images = 1024.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='xcit_small_12_p16_224',
        drop_path_rate=0.1),
    head=dict(norm_last_layer=False))
train_dataloader = dict(batch_size=64)

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(clip_grad=None)
param_scheduler = dict(end_lr=1e-5)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
