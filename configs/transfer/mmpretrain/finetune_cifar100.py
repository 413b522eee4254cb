# Fine-tune a ViT on CIFAR-100. The learning rate is the authors' for ViT-B.
_base_ = '_base_/finetune.py'

# CIFAR's arrays are RGB, unlike image files, which are read as BGR.
model = dict(data_preprocessor=dict(to_rgb=False), head=dict(num_classes=100))

train_dataloader = dict(
    dataset=dict(
        type='mmpretrain.CIFAR100',
        data_root='data/cifar100',
        split='train',
        download=False,
        pipeline=_base_._train_steps))
val_dataloader = dict(
    dataset=dict(
        type='mmpretrain.CIFAR100',
        data_root='data/cifar100',
        split='test',
        download=False,
        pipeline=_base_._test_steps))
test_dataloader = dict(dataset=val_dataloader['dataset'])
optim_wrapper = dict(optimizer=dict(lr=5e-6))
