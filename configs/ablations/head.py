# The projection head: its depth, with and without the L2-normalised
# bottleneck, batch normalisation, activation, and norms of the prototypes. The
# layer of prototypes is counted in the depth.


def _head(title, **head):
    return dict(title=title, model=dict(head=head))


def _bottleneck(layers, note=''):
    return _head(
        f'{layers} linear layers, the last the prototypes, with the '
        f'bottleneck{note}',
        num_layers=layers - 1)


def _plain(layers):
    return _head(
        f'{layers} linear layers, the last the prototypes, without the '
        'bottleneck'
        if layers > 1 else 'The prototypes alone, without the bottleneck',
        _delete_=True,
        type='MLPHead',
        out_dim=lambda base: base.model.head.out_dim,
        hidden_channels=lambda base: base.model.head.hidden_channels,
        use_bn=lambda base: base.model.head.use_bn,
        num_layers=layers)


rows = {
    'bn':
    _head('Batch normalisation in the head', use_bn=True),
    'bottleneck_layers-2':
    _bottleneck(2),
    'bottleneck_layers-3':
    _bottleneck(3),
    'bottleneck_layers-4':
    _bottleneck(4, ", the paper's"),
    'bottleneck_layers-5':
    _bottleneck(5),
    'gelu':
    _head("GELU in the head, the paper's", act_cfg=dict(type='GELU')),
    'no-bn':
    _head("No batch normalisation, the paper's", use_bn=False),
    'norm-fixed':
    _head(
        "The norms of the prototypes stay at 1, the paper's",
        norm_last_layer=True),
    'norm-trained':
    _head('The norms of the prototypes are trained', norm_last_layer=False),
    'plain_layers-1':
    _plain(1),
    'plain_layers-2':
    _plain(2),
    'plain_layers-3':
    _plain(3),
    'plain_layers-4':
    _plain(4),
    'relu':
    _head('ReLU in the head', act_cfg=dict(type='ReLU')),
}
