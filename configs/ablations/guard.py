# Methods against collapse.


def _guard(title, **centering):
    return dict(title=title, model=dict(centering=centering))


rows = {
    'batch-softmax':
    _guard(
        'Softmax over the images of all ranks: one iteration of '
        'Sinkhorn-Knopp',
        _delete_=True,
        type='SinkhornKnopp',
        num_iters=1),
    'centering':
    _guard("Centring, the paper's choice", type='MeanCentering', momentum=0.9),
    'none':
    _guard('Sharpening without any guard', _delete_=True, type='NoCentering'),
    'sinkhorn-knopp':
    _guard(
        'Sinkhorn-Knopp with 3 iterations, over the images of all ranks',
        _delete_=True,
        type='SinkhornKnopp',
        num_iters=3),
}
