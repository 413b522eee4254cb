# ViT-S/16 on ImageNet-1k, 100 epochs: 8 GPUs x 128 images = 1024. The numbers
# are those of the short recipe for ViT-L/16, with less stochastic depth.
# There are no published results for exactly these settings. They may be no
# better than DINO's: iBOT and DINO with a ViT-S/16 at a batch of 128:
# Published: k-NN 65.4 and 67.5.
_base_ = [
    '_base_/models/dinov2_vit.py',
    '_base_/datasets/imagenet_dinov2.py',
    '_base_/schedules/dinov2.py',
]

model = dict(backbone=dict(arch='deit-small', drop_path_rate=0.1))

train_dataloader = dict(batch_size=128)
