# What every table starts from.
_base_ = '{{$MMDINO_BASE:../dino_vit-s16.py}}'
