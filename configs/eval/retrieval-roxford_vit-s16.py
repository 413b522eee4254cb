# Revisited Oxford with ViT-S/16, images of 224 px and one scale: how the
# authors evaluate on Oxford.
_base_ = [
    '../_base_/models/dino_vit.py', '../_base_/default_runtime.py',
    '_base_/retrieval.py'
]

model = dict(type='MultiScaleDINO')
