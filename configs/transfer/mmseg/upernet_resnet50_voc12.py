# UPerNet on a fine-tuned ResNet-50, VOC 2012.
_base_ = ['_base_/upernet_resnet50.py', '_base_/voc12.py', '_base_/sgd_40k.py']

model = dict(
    decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))
