# Retrieval on revisited Oxford: mAP and mP@k, Medium and Hard. The
# images have any size, so one is embedded at a time. Images of 224 px and one
# scale: how the authors evaluate on Oxford.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher', features=dict(type='MultiScaleFeatures'))

data_root = 'data/revisitop/roxford5k'
# Boxes and the published figures are of images as they are stored.
_load = dict(type='LoadImage', exif_orientation=False)
_shrink = dict(type='Thumbnail', size=224)

test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='RevisitedImages',
        subset='queries',
        # The authors embed whole query images, where the benchmark crops
        # them: see retrieval-roxford_cropped.py.
        pipeline=[
            _load, _shrink,
            dict(
                type='mmpretrain.PackInputs', algorithm_keys=('annotation', ))
        ]))
test_evaluator = dict(type='RetrievalMAP', ks=(1, 5, 10))
test_cfg = dict(
    type='GalleryTestLoop',
    gallery_dataloader=dict(
        batch_size=1,
        num_workers=4,
        pin_memory=True,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='RevisitedImages',
            subset='database',
            pipeline=[_load, _shrink,
                      dict(type='mmpretrain.PackInputs')])))
