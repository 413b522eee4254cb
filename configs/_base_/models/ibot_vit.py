# iBOT with a ViT-S/16: DINO with masked patches that share the head.
_base_ = 'dino_vit.py'

model = dict(
    type='DINOv2',
    backbone=dict(with_mask_token=True),
    head=dict(out_dim=8192, norm_last_layer=False),
    # Whether and how much a view is masked is drawn for each view on its own.
    masking=dict(
        type='BlockMasking',
        probability=0.5,
        ratio=(0.1, 0.5),
        stratified=False),
    patch_centering=dict(type='MeanCentering', momentum=0.9),
    center_all_patches=True,
    patch_loss=dict(type='IBOTLoss', student_temp=0.1))
