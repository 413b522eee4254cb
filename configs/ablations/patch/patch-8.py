# Patches of 8 px; 784 of them in a global crop.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(backbone=dict(patch_size=8))
