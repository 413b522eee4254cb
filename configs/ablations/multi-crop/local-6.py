# Two global and 6 local crops.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    dataset=dict(pipeline=dict(views=dict(local=dict(num_views=6)))))
