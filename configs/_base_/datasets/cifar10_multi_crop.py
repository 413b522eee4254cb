# Multi-crop on CIFAR-10, and the gallery and queries of k-NN. The images of
# 32 px are in class folders in a zip archive, which is not unpacked.
_base_ = 'imagenet_multi_crop.py'

data_root = 'data/cifar10.zip'
# No blur: a radius of 2 px would hide the object in an image of 32 px.
_color_pipeline = _base_._color_pipeline

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    pin_memory=False,
    dataset=dict(
        subset='cifar10/train',
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(size=32), pipeline=_color_pipeline),
                global_2=dict(
                    crop=dict(size=32),
                    pipeline=[
                        *_color_pipeline,
                        dict(type='Solarize', prob=0.2, threshold=128),
                    ]),
                # Half the side of the global crops and a multiple of the patch
                # size 4; in DINO it is 96 / 224, a little less than half.
                local=dict(
                    num_views=6,
                    crop=dict(size=16, scale=(0.1, 0.4)),
                    pipeline=_color_pipeline)))))

_test_pipeline = [
    dict(type='LoadImage', exif_orientation=False),
    dict(type='mmpretrain.PackInputs'),
]
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    pin_memory=False,
    dataset=dict(subset='cifar10/test', pipeline=_test_pipeline))
val_cfg = dict(
    gallery_dataloader=dict(
        batch_size=256,
        num_workers=2,
        pin_memory=False,
        dataset=dict(subset='cifar10/train', pipeline=_test_pipeline)))
