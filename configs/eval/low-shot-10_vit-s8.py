# 10% of ImageNet's labels, ViT-S/8.
_base_ = 'low-shot-1_vit-s8.py'

split = 'data/imagenet/low-shot_0.1_seed0.txt'
test_cfg = dict(gallery_dataloader=dict(dataset=dict(data_root=split)))
