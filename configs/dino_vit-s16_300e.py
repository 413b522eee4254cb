# ViT-S/16, 300 epochs, "boosted". Published: k-NN 73.3, linear 76.0.
# 8 GPUs x 64 images.
_base_ = 'dino_vit-s16.py'

model = dict(head=dict(norm_last_layer=False))
train_cfg = dict(max_epochs=300)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
