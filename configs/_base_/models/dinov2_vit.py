# DINOv2 with a ViT-L/16: masked patches are compared as well, and KoLeo
# spreads the class tokens. Patches and class tokens share a head; set
# patch_head in a config to have two.
_base_ = 'dino_vit.py'

model = dict(
    type='DINOv2',
    backbone=dict(
        arch='large',
        with_mask_token=True,
        cls_token_std=1e-6,
        layer_scale_init_value=1e-5,
        drop_path_rate=0.3,
        drop_path_uniform=True),
    head=dict(norm_last_layer=False),
    masking=dict(type='BlockMasking', probability=0.5, ratio=(0.1, 0.5)),
    patch_centering=dict(type='MeanCentering', momentum=0.9),
    patch_loss=dict(type='IBOTLoss', student_temp=0.1),
    patch_weight=1.0,
    koleo=dict(type='KoLeoLoss'),
    koleo_weight=0.1)
