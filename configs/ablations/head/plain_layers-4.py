# 4 linear layers, the last the prototypes, without the bottleneck and its L2
# normalisation.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(
    head=dict(
        _delete_=True,
        type='MLPHead',
        out_dim=_base_.model.head.out_dim,
        hidden_channels=_base_.model.head.hidden_channels,
        use_bn=_base_.model.head.use_bn,
        num_layers=4))
