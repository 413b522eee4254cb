# Loaders with one worker each, for a data set that the config sets: two views
# of the training images, and k-NN of the validation images.
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        pipeline=dict(
            type='MultiCrop',
            views=dict(
                global_1=dict(
                    num_views=2, crop=dict(type='RandomResizedCrop'))),
            after=[dict(type='mmpretrain.PackInputs')])))

_pictures = dict(
    batch_size=250,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
val_dataloader = _pictures
val_cfg = dict(type='GalleryValLoop', gallery_dataloader=_pictures)
val_evaluator = dict(type='KNNAccuracy', k=(20, ))
