# Fine-tune a ViT on Stanford Cars. The authors do not give their settings;
# these are those of CIFAR-10.
_base_ = '_base_/finetune.py'

model = dict(head=dict(num_classes=196))

train_dataloader = dict(
    dataset=dict(
        type='mmpretrain.StanfordCars',
        data_root='data/stanford_cars',
        split='train',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            *_base_._train_steps
        ]))
val_dataloader = dict(
    dataset=dict(
        type='mmpretrain.StanfordCars',
        data_root='data/stanford_cars',
        split='test',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False), *_base_._test_steps
        ]))
test_dataloader = dict(dataset=val_dataloader['dataset'])
