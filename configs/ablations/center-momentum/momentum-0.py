# The centre of the last batch alone.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(momentum=0))
