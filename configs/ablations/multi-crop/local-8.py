# Eight local crops, the recipe's number: vanilla 100 epochs, published k-NN
# 69.3, linear 74.0.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

train_dataloader = dict(
    dataset=dict(pipeline=dict(views=dict(local=dict(num_views=8)))))
