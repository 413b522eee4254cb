# Linear probe of ViT-B/16, class token and mean patch token. Published:
# linear 78.2.
_base_ = 'linear_vit-s16.py'

model = dict(
    backbone=dict(arch='deit-base'),
    features=dict(_delete_=True, type='ClassAndPatchFeatures'))
