# Copy detection on Copydays, "strong": 320 px squares, whitened features.
# Optional folders beside copydays/ hold distractors and the images from which
# the whitening is learnt, see mmdino.datasets.Copydays. The authors' best
# result is that of ViT-B/8.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher', features=dict(type='ClassAndGeMFeatures'))

data_root = 'data/copydays'
_test_pipeline = [
    dict(type='LoadImage', exif_orientation=False),
    dict(
        type='mmpretrain.Resize',
        scale=(320, 320),
        backend='pillow',
        interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]

test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='Copydays', subset='strong', pipeline=_test_pipeline))
test_evaluator = dict(type='CopyDetectionMAP')
test_cfg = dict(
    type='GalleryTestLoop',
    gallery_dataloader=dict(
        batch_size=16,
        num_workers=4,
        pin_memory=True,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='Copydays', subset='database', pipeline=_test_pipeline)))
