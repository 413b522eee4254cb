# Patches of 5 px. They do not divide 224 and 96: crops of 220 and 95 px have
# the whole patches of those.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

_global = dict(crop=dict(size=220))
_views = dict(
    global_1=_global, global_2=_global, local=dict(crop=dict(size=95)))
model = dict(backbone=dict(patch_size=5, img_size=220))
train_dataloader = dict(dataset=dict(pipeline=dict(views=_views)))
_base_.test_pipeline[2].crop_size = 220
_pictures = dict(dataset=dict(pipeline=_base_.test_pipeline))
val_dataloader = _pictures
val_cfg = dict(gallery_dataloader=_pictures)
test_dataloader = _pictures
test_cfg = dict(gallery_dataloader=_pictures)
