# UPerNet on a fine-tuned ViT-S/8, Cityscapes.
_base_ = [
    '_base_/upernet_vit-s8.py', '_base_/cityscapes.py',
    '_base_/finetune_80k.py'
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    test_cfg=dict(crop_size=(512, 1024), stride=(341, 683)),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19))
