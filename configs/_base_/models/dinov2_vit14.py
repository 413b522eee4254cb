# DINOv2's published backbones, ViTs of patches of 14 px whose position
# embeddings are those of 518 px. Their heads were not published: new ones.
_base_ = 'dinov2_vit.py'

model = dict(
    backbone=dict(
        arch='deit-small', patch_size=14, img_size=518, drop_path_rate=0.1),
    # Few pictures need few prototypes.
    head=dict(out_dim=8192))
