# Pictures of your own, in crops that patches of 14 px fit:
#   --cfg-options data=DIR
# A folder with train/ and val/ or test/ is taken as split. Of another a fifth
# is held back for k-NN, if its folders are classes; without classes there is
# no validation.
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
