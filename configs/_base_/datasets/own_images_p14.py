# Your own images, in crops whose sides are multiples of a patch of 14 px:
#   --cfg-options data=DIR
# A folder DIR with train/ and val/ or test/ is used with these splits. If DIR
# holds class folders, a fifth of the images is held back for k-NN. Without
# classes there is no validation.
_base_ = 'imagenet_dinov2.py'

data = ''
data_root = ''

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    dataset=dict(
        subset='',
        pipeline=dict(
            before=[dict(type='LoadImage', exif_orientation=True)],
            views=dict(local=dict(crop=dict(size=98))))))

_test_pipeline = [
    dict(type='LoadImage', exif_orientation=True),
    *_base_.val_dataloader.dataset.pipeline[1:]
]
val_dataloader = dict(
    batch_size=64, num_workers=4, dataset=dict(pipeline=_test_pipeline))
val_cfg = dict(
    gallery_dataloader=dict(
        batch_size=64, num_workers=4, dataset=dict(pipeline=_test_pipeline)))
val_evaluator = dict(k=(20, ))
