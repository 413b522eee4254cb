# The area that separates global from local crops, as a share of the image.


def _scale(percent):
    views = dict.fromkeys(('global_1', 'global_2'),
                          dict(crop=dict(scale=(percent / 100, 1.0))))
    views['local'] = dict(crop=dict(scale=(0.05, percent / 100)))
    return dict(
        title=f'Areas of global crops from {percent}% on, of local crops up '
        f'to {percent}%',
        train_dataloader=dict(dataset=dict(pipeline=dict(views=views))))


rows = {f'scale-{p:02}': _scale(p) for p in (8, 16, 24, 32, 48)}
