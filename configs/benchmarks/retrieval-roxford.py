# Retrieval on revisited Oxford: mAP and mP@k, Medium and Hard. Images have any
# size and are embedded one at a time. As in the authors' evaluation on Oxford,
# they are resized to 224 px at one scale.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher', features=dict(type='MultiScaleFeatures'))

data_root = 'data/revisitop/roxford5k'
# Without EXIF orientation, which the boxes and the published results ignore.
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
        # The authors use whole query images; the benchmark crops them, see
        # retrieval-roxford_cropped.py.
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
