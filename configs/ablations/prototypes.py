# The number K of prototypes.


def _prototypes(k, note=''):
    return dict(
        title=f'{k:,} prototypes{note}', model=dict(head=dict(out_dim=k)))


rows = {
    'k-256': _prototypes(256, ', fewer than in the paper: for small sets'),
    'k-1024': _prototypes(1024),
    'k-4096': _prototypes(4096),
    'k-16384': _prototypes(16384),
    'k-65536': _prototypes(65536, ", the paper's"),
    'k-262144': _prototypes(262144),
}
