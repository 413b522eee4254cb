# Fine-tune a ViT on ImageNet, with the authors' learning rate, which is for a
# batch of 512, and DeiT's epochs.
_base_ = '_base_/finetune.py'

model = dict(head=dict(num_classes=1000))

train_dataloader = dict(
    dataset=dict(
        type='Images',
        data_root='data/imagenet',
        subset='train',
        with_label=True,
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            *_base_._train_steps
        ]))
val_dataloader = dict(
    dataset=dict(
        type='Images',
        data_root='data/imagenet',
        subset='val',
        with_label=True,
        pipeline=[
            dict(type='LoadImage', exif_orientation=False), *_base_._test_steps
        ]))
test_dataloader = dict(dataset=val_dataloader['dataset'])

train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
