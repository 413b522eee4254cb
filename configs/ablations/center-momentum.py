# How slowly the centre follows the batches.


def _momentum(value, title):
    return dict(title=title, model=dict(centering=dict(momentum=value)))


rows = {
    'momentum-0': _momentum(0, 'The centre of the last batch alone'),
    'momentum-0.9': _momentum(.9, "A centre momentum of 0.9, the paper's"),
    'momentum-0.99': _momentum(.99, 'A centre momentum of 0.99'),
    'momentum-0.999': _momentum(.999, 'A centre momentum of 0.999'),
}
