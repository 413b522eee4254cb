# ViT-B/16 on ImageNet-1k, 100 epochs: 8 GPUs x 128 images = 1024. The numbers
# are those of the short recipe for ViT-L/16, with less stochastic depth.
# There are no published results for exactly these settings. For a similar
# training, others' DINOv2 with a ViT-B/16 in 100 epochs: Published: k-NN 76.0,
# linear 77.2.
_base_ = [
    '_base_/models/dinov2_vit.py',
    '_base_/datasets/imagenet_dinov2.py',
    '_base_/schedules/dinov2.py',
]

model = dict(backbone=dict(arch='deit-base', drop_path_rate=0.2))

train_dataloader = dict(batch_size=128)
