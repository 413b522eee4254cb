# The two global crops alone. configs/dino_vit-s16_no-multi-crop.py is the
# recipe tuned for them.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    dataset=dict(pipeline=dict(views=dict(local=dict(num_views=0)))))
