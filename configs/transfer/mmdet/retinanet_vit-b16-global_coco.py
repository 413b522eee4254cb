# RetinaNet on a ViT-B/16 whose blocks all attend to the whole image, COCO.
_base_ = 'retinanet_vit-s16-global_coco.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(embed_dim=768))
