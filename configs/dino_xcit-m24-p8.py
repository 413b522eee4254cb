# XCiT-M24/8. Published: k-NN 77.9, linear 80.3. The authors released the
# weights without their settings: the recipe is that of the released ViT-S/16.
# 128 GPUs x 8 images = 1024.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_800e.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='xcit_medium_24_p8_224',
        drop_path_rate=0.1),
    head=dict(norm_last_layer=False))
train_dataloader = dict(batch_size=8)
