# k-NN on ImageNet; the gallery is the training set. The network, the
# normalisation and the size of the images are stored in the checkpoint.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher')

data_root = 'data/imagenet'
_test_pipeline = [
    dict(type='LoadImage', exif_orientation=False),
    dict(type='CenterView', size=None),
    dict(type='mmpretrain.PackInputs'),
]
_imagenet = dict(
    batch_size=128,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='Images', with_label=True, pipeline=_test_pipeline))

test_dataloader = dict(
    _imagenet, dataset=dict(_imagenet['dataset'], subset='val'))
test_cfg = dict(
    type='GalleryTestLoop',
    gallery_dataloader=dict(
        _imagenet, dataset=dict(_imagenet['dataset'], subset='train')))
test_evaluator = dict(type='KNNAccuracy', k=(10, 20, 100, 200))
