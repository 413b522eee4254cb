# Video object segmentation on DAVIS 2017, one sequence a step. Masks and
# tables are written to davis/ in the work dir.
_base_ = '../_base_/default_runtime.py'

model = dict(
    type='VideoSegmenter',
    # Compares with the first frame and the 7 before, up to 12 patches away,
    # and averages the labels of the 5 most similar patches.
    num_context=7,
    radius=12,
    topk=5,
    temperature=0.1)

data_root = 'data/DAVIS'
test_dataloader = dict(
    batch_size=1,
    # One worker reads ahead; a sequence of 100 frames takes 160 MB.
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DAVIS',
        split='val',
        pipeline=[
            # The short side is a multiple of patches of 8 and of 16 px.
            dict(type='LoadSequence', short_side=480, divisor=64),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=('first_mask', 'gt_masks'),
                meta_keys=('sequence', 'frame_names', 'ori_shape',
                           'img_shape')),
        ]))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='DAVISMetric')

default_hooks = dict(
    logger=dict(interval=1), davis=dict(type='DAVISResultsHook'))
