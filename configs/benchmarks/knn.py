# k-NN on ImageNet: the gallery is the training set. The checkpoint tells the
# network, the normalisation and the size of the images.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher')

test_pipeline = [
    dict(type='LoadImage'),
    dict(type='CenterView', size=None),
    dict(type='mmpretrain.PackInputs'),
]
imagenet = dict(
    batch_size=128,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images',
        data_root='data/imagenet',
        with_label=True,
        pipeline=test_pipeline))

test_dataloader = dict(
    imagenet, dataset=dict(imagenet['dataset'], subset='val'))
test_cfg = dict(
    type='GalleryTestLoop',
    gallery_dataloader=dict(
        imagenet, dataset=dict(imagenet['dataset'], subset='train')))
test_evaluator = dict(type='KNNAccuracy', k=(10, 20, 100, 200))
