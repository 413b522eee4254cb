# 10% of ImageNet's labels, ViT-B/16.
_base_ = 'low-shot-1_vit-b16.py'

split = 'data/imagenet/low-shot_0.1_seed0.txt'
test_cfg = dict(gallery_dataloader=dict(dataset=dict(data_root=split)))
