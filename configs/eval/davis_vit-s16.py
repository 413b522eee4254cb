# DAVIS 2017 by label propagation, ViT-S/16.
_base_ = ['../_base_/models/dino_vit.py', '_base_/davis.py']

model = dict(
    type='VideoSegmentationDINO',
    # the first frame and the last 7, 12 patches to each side, the best 5
    num_context=7,
    radius=12,
    topk=5,
    temperature=0.1)
