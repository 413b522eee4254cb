# Fine-tune a ViT on Oxford Flowers-102. The authors do not give their
# settings; these are those of CIFAR-10.
_base_ = '_base_/finetune.py'

model = dict(head=dict(num_classes=102))

train_dataloader = dict(
    dataset=dict(
        type='mmpretrain.Flowers102',
        data_root='data/flowers102',
        split='trainval',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            *_base_._train_steps
        ]))
val_dataloader = dict(
    dataset=dict(
        type='mmpretrain.Flowers102',
        data_root='data/flowers102',
        split='test',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False), *_base_._test_steps
        ]))
test_dataloader = dict(dataset=val_dataloader['dataset'])
