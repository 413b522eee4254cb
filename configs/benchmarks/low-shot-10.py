# Logistic regression on 10% of ImageNet's labels; see low-shot-1.py.
_base_ = 'low-shot-1.py'

test_cfg = dict(
    gallery_dataloader=dict(
        dataset=dict(data_root='data/imagenet/low-shot_0.1_seed0.txt')))
