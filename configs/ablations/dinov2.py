# From DINO to DINOv2, one part after another: each row adds to the one above.
# The last row has the parts of the row koleo and a single head. That head has
# no batch normalisation, which a head of masked patches cannot have. If the
# head of the base has it, compare with koleo.model.head.use_bn=False.
dense = 'dense-shapescenes'  # masks of ShapeScenes, whatever the base is

_patch_head = dict(
    type='DINOHead',
    out_dim=lambda base: base.model.head.out_dim,
    hidden_channels=lambda base: base.model.head.hidden_channels,
    bottleneck_channels=lambda base: base.model.head.bottleneck_channels,
    num_layers=lambda base: base.model.head.num_layers)
_sinkhorn = dict(_delete_=True, type='SinkhornKnopp', num_iters=3)


def _dinov2(title, **model):
    """Return a row with masked patches and these settings of the model."""
    return dict(
        title=title,
        model={
            'type': 'DINOv2',
            'backbone': dict(with_mask_token=True),
            'masking': dict(type='BlockMasking'),
            'patch_centering': dict(type='MeanCentering', momentum=0.9),
            'patch_loss': dict(type='IBOTLoss', student_temp=0.1),
            'patch_head': _patch_head,
            **model
        })


def _koleo(title, **model):
    return _dinov2(
        title, koleo=dict(type='KoLeoLoss'), koleo_weight=0.1, **model)


def _sinkhorn_knopp(title, **model):
    return _koleo(
        title,
        centering=_sinkhorn,
        patch_centering=dict(type='SinkhornKnopp', num_iters=3),
        **model)


rows = {
    'dino':
    dict(title="DINO, the paper's"),
    'ibot':
    _dinov2('+ iBOT: masked patches, with a head of their own'),
    'koleo':
    _koleo('+ KoLeo'),
    'sinkhorn-knopp':
    _sinkhorn_knopp('+ Sinkhorn-Knopp for class tokens and patches'),
    'registers':
    _sinkhorn_knopp(
        '+ 4 registers', backbone=dict(with_mask_token=True, num_registers=4)),
    'shared-head':
    _koleo(
        'KoLeo, one head for class tokens and patches',
        head=dict(use_bn=False),
        patch_head=None),
}
