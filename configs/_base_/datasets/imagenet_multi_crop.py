# Multi-crop on ImageNet, and the gallery and queries of k-NN. A config that
# inherits this file changes a view by its name, for instance
#   train_dataloader = dict(dataset=dict(pipeline=dict(views=dict(
#       global_1=dict(crop=dict(scale=(0.25, 1.0))),
#       global_2=dict(crop=dict(scale=(0.25, 1.0))),
#       local=dict(num_views=10, crop=dict(scale=(0.05, 0.25)))))))
# EXIF orientation is ignored, as in the authors' loader (one image of ImageNet
# in a thousand has the tag). For photos that need it, set exif_orientation of
# every LoadImage to True.
# From shards (tools/make_shards.py, or tar files in WebDataset's layout):
#   data_root = 'data/imagenet-shards'  # with train/*.tar and val/*.tar
#   _shards = dict(dataset=dict(type='Shards'))
#   train_dataloader = dict(sampler=dict(type='ShardSampler'), **_shards)
#   val_dataloader = _shards
#   val_cfg = dict(gallery_dataloader=_shards)
# type='HuggingFaceImages' reads a datasets.Dataset on disk.
# Without test settings, tests use those of the validation.
data_root = 'data/imagenet'  # of every loader without a data_root of its own

# Flip, colour jitter and grayscale, which all views share.
_color_pipeline = [
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=10,
    # Starting workers anew in every epoch would take seconds.
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images',
        subset='train',
        pipeline=dict(
            type='MultiCrop',
            before=[dict(type='LoadImage', exif_orientation=False)],
            # Sorted by name; the teacher sees the global ones.
            views=dict(
                global_1=dict(
                    num_views=1,
                    crop=dict(
                        type='RandomResizedCrop', size=224, scale=(0.4, 1.0)),
                    pipeline=[
                        *_color_pipeline,
                        dict(type='GaussianBlur', prob=1.0, radius=(0.1, 2.0)),
                    ]),
                global_2=dict(
                    num_views=1,
                    crop=dict(
                        type='RandomResizedCrop', size=224, scale=(0.4, 1.0)),
                    pipeline=[
                        *_color_pipeline,
                        dict(type='GaussianBlur', prob=0.1, radius=(0.1, 2.0)),
                        dict(type='Solarize', prob=0.2, threshold=128),
                    ]),
                local=dict(
                    num_views=8,
                    crop=dict(
                        type='RandomResizedCrop', size=96, scale=(0.05, 0.4)),
                    pipeline=[
                        *_color_pipeline,
                        dict(type='GaussianBlur', prob=0.5, radius=(0.1, 2.0)),
                    ])),
            after=[dict(type='PackViews')])))

# By Pillow, which resizes with antialiasing; OpenCV does not.
_test_pipeline = [
    dict(type='LoadImage', exif_orientation=False),
    dict(
        type='mmpretrain.ResizeEdge',
        scale=256,
        edge='short',
        backend='pillow',
        interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]

# The queries of k-NN. The gallery is the training set without augmentation.
val_dataloader = dict(
    batch_size=128,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images', subset='val', with_label=True, pipeline=_test_pipeline))
val_cfg = dict(
    type='GalleryValLoop',
    gallery_dataloader=dict(
        batch_size=128,
        num_workers=10,
        pin_memory=True,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='Images',
            subset='train',
            with_label=True,
            pipeline=_test_pipeline)))
val_evaluator = dict(type='KNNAccuracy')
