# Copydays with ViT-B/8, the model of the authors' best figure.
_base_ = [
    '../_base_/models/dino_vit.py', '../_base_/default_runtime.py',
    '_base_/copydays.py'
]

model = dict(
    type='CopyDetectionDINO', backbone=dict(arch='deit-base', patch_size=8))
