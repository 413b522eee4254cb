# Images with any number of channels and any bit depth: an example for arrays
# (.npy, H x W x C), multi-page TIFF and, with tifffile, TIFF of many channels.
# Copy this file; the settings to change for your images come first.
#   1 channel:   _channels = 1, and load grey images of 8 or 16 bits by
#                _load = dict(type='LoadImage', color_type='grayscale')
#   4 channels:  _channels = 4
# tools/data_stats.py computes mean and std in the form needed here.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/loaders.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

data_root = 'data/channels'  # train/CLASS/*, val/CLASS/*; or your folders
_channels = 10
_mean = [1000.] * _channels
_std = [500.] * _channels
# Channels and bit depth as in the file. value_range=(0, 10000) would convert
# that range to 8 bits, so that images need a quarter of the memory.
_load = dict(type='LoadImage', color_type='unchanged')
_size = 64

model = dict(
    data_preprocessor=dict(mean=_mean, std=_std, bgr_to_rgb=False),
    backbone=dict(
        arch='deit-tiny',
        img_size=_size,
        patch_size=8,
        in_channels=_channels,
        drop_path_rate=0.),
    head=dict(out_dim=4096))

# ColorJitter without saturation and hue changes brightness and contrast only,
# and accepts any number of channels. Saturation, hue and RandomGrayscale need
# three channels, and Solarize does not accept float32: they are errors.
_light_pipeline = [
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.,
        hue=0.,
        prob=0.8),
    dict(type='GaussianBlur', prob=0.5, radius=(0.1, 1.0)),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    pin_memory=True,
    dataset=dict(
        type='Images',
        subset='train',
        with_label=False,
        pipeline=dict(
            before=[_load],
            views=dict(
                global_1=dict(
                    crop=dict(size=_size, scale=(0.4, 1.0)),
                    pipeline=_light_pipeline),
                local=dict(
                    num_views=4,
                    crop=dict(
                        type='RandomResizedCrop',
                        size=_size // 2,
                        scale=(0.1, 0.4)),
                    pipeline=_light_pipeline)),
            after=[dict(type='PackViews')])))

# CenterView accepts any number of channels and any bit depth; mmpretrain's
# ResizeEdge with Pillow accepts 8-bit images with 1, 3 or 4 channels only.
_images = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    dataset=dict(
        type='Images',
        with_label=True,
        pipeline=[
            _load,
            dict(type='CenterView', size=_size),
            dict(type='mmpretrain.PackInputs'),
        ]))
val_dataloader = dict(_images, dataset=dict(_images['dataset'], subset='val'))
val_cfg = dict(
    gallery_dataloader=dict(
        _images, dataset=dict(_images['dataset'], subset='train')))
