# ViT-B/8 as released, 300 epochs. Published: k-NN 77.4, linear 80.1.
# 176 GPUs x 6 images = 1056, fp32. The authors published the settings of the
# other models in full; here epochs, learning rates, clipping and freezing are
# as they are cited, the rest is ViT-B/16's.
_base_ = 'dino_vit-b16.py'

model = dict(backbone=dict(patch_size=8))
train_dataloader = dict(batch_size=6)

train_cfg = dict(max_epochs=300)
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=3.0))
