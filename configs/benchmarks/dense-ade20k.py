# As dense-voc12, on ADE20K: 150 classes; 0 in a mask means no class.
_base_ = 'dense-voc12.py'

data_root = 'data/ade/ADEChallengeData2016'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SegmentedImages',
        images='images/validation',
        masks='annotations/validation',
        pipeline={{_base_._pipeline}}))
test_cfg = dict(
    num_classes=150,
    first_class=1,
    patches_per_image=16,
    gallery_dataloader=dict(
        dataset=dict(
            _delete_=True,
            type='SegmentedImages',
            images='images/training',
            masks='annotations/training',
            pipeline={{_base_._pipeline}})))
