# One object in each image, found without labels (LOST, arXiv 2109.14279): the
# share of the images of PASCAL VOC 2007 trainval whose box is right. Images
# keep their size, except that it is made a multiple of the patch.
_base_ = '../_base_/default_runtime.py'

model = dict(type='ObjectFinder', facet='key', seeds=100)

data_root = 'data/VOCdevkit/VOC2007'
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='VOCBoxes',
        split='trainval',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            dict(type='WholeView', patch=None),
            dict(type='mmpretrain.PackInputs', algorithm_keys=('gt_boxes', )),
        ]))
test_cfg = dict(type='TestLoop')
# The second metric is a baseline that ignores the content of the images.
test_evaluator = [dict(type='CorLoc'), dict(type='CenterBoxCorLoc')]
