# Fine-tune a ViT on CIFAR-10. The learning rate and the epochs are the
# authors'.
_base_ = '_base_/finetune.py'

# CIFAR's arrays are RGB, unlike image files, which are read as BGR.
model = dict(data_preprocessor=dict(to_rgb=False), head=dict(num_classes=10))

train_dataloader = dict(
    dataset=dict(
        type='mmpretrain.CIFAR10',
        data_root='data/cifar10',
        split='train',
        download=False,
        pipeline=_base_._train_steps))
val_dataloader = dict(
    dataset=dict(
        type='mmpretrain.CIFAR10',
        data_root='data/cifar10',
        split='test',
        download=False,
        pipeline=_base_._test_steps))
test_dataloader = dict(dataset=val_dataloader['dataset'])
