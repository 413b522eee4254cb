# Fine-tune a ViT on iNaturalist 2018, 8 GPUs x 128 images. The learning rate,
# which is for a batch of 512, and the epochs are the authors'.
_base_ = '_base_/finetune.py'

model = dict(head=dict(num_classes=8142))

train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type='INaturalist',
        data_root='data/inaturalist2018',
        ann_file='train2018.json',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            *_base_._train_steps
        ]))
val_dataloader = dict(
    dataset=dict(
        type='INaturalist',
        data_root='data/inaturalist2018',
        ann_file='val2018.json',
        pipeline=[
            dict(type='LoadImage', exif_orientation=False), *_base_._test_steps
        ]))
test_dataloader = dict(dataset=val_dataloader['dataset'])

train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
