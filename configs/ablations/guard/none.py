# Sharpening without any guard.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(_delete_=True, type='NoCentering'))
