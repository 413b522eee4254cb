# Segmentation of PASCAL VOC 2012 with frozen patch features, by the votes of
# the nearest patches of the train split and by a linear layer that ridge
# regression fits to these patches. Images are squares of 448 px; the scores
# are measured at the size of the mask.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher')

data_root = 'data/VOCdevkit/VOC2012'
_pipeline = [
    dict(type='LoadImage', exif_orientation=False),
    dict(
        type='mmpretrain.Resize',
        scale=(448, 448),
        backend='pillow',
        interpolation='bicubic'),
    dict(type='LoadMask'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_mask', )),
]
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='VOCClasses', split='val', pipeline=_pipeline))
test_cfg = dict(
    type='DenseTestLoop',
    num_classes=21,
    gallery_dataloader=dict(
        test_dataloader,
        dataset=dict(type='VOCClasses', split='train', pipeline=_pipeline)))
test_evaluator = []
