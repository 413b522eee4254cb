# As dense-voc12, on drawn images: background and ten shapes. Images of 48 px
# are enlarged to 64 px, as for k-NN.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher')

_pipeline = [
    dict(
        type='mmpretrain.Resize',
        scale=(64, 64),
        backend='pillow',
        interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_seg_map', )),
]
test_dataloader = dict(
    batch_size=50,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ShapeSegmentation',
        num_images=1000,
        split='test',
        pipeline=_pipeline))
test_cfg = dict(
    type='DenseTestLoop',
    num_classes=11,
    mask_key='gt_seg_map',
    patches_per_image=32,
    gallery_dataloader=dict(
        test_dataloader,
        dataset=dict(
            type='ShapeSegmentation',
            num_images=2000,
            split='train',
            pipeline=_pipeline)))
test_evaluator = []
