# Objects of PASCAL VOC 2012 in the attention of the class token: the Jaccard
# index of the best head. Images are squares of 480 px, as in the authors'
# figures of attention; the kept patches are compared at the size of the mask.
_base_ = '../_base_/default_runtime.py'

model = dict(type='FrozenTeacher', predict_attention=True)

data_root = 'data/VOCdevkit/VOC2012'
test_dataloader = dict(
    batch_size=4,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='VOCObjects',
        split='val',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            dict(
                type='mmpretrain.Resize',
                scale=(480, 480),
                backend='pillow',
                interpolation='bicubic'),
            dict(type='LoadMask'),
            dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_mask', )),
        ]))
# This loop measures the untrained network as well.
test_cfg = dict(type='GalleryTestLoop')
test_evaluator = dict(type='AttentionJaccard', mass=0.6)
