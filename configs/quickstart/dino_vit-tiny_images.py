# The quickstart on a folder of images: tools/quickstart.py sets data_root.
# The model is that of ShapeScenes on 64 px; photographs share more between
# their views than drawings do, so that the paper's augmentation and two local
# crops fit.
_base_ = 'dino_vit-tiny_shapescenes.py'

data_root = ''
model = dict(backbone=dict(img_size=64))

_color_pipeline = [
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2),
]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='Images',
        with_label=False,
        pipeline=dict(
            type='MultiCrop',
            before=[dict(type='LoadImage')],
            views=dict(
                global_1=dict(
                    num_views=2,
                    crop=dict(
                        type='RandomResizedCrop', size=64, scale=(0.4, 1.0)),
                    pipeline=_color_pipeline),
                local=dict(
                    num_views=2,
                    crop=dict(
                        type='RandomResizedCrop', size=32, scale=(0.1, 0.4)),
                    pipeline=_color_pipeline)),
            after=[dict(type='mmpretrain.PackInputs')])))

_test_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.ResizeEdge',
        scale=72,
        edge='short',
        backend='pillow',
        interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='mmpretrain.PackInputs'),
]
_images = dict(_delete_=True, type='Images', pipeline=_test_pipeline)

val_dataloader = dict(dataset=_images)
val_cfg = dict(gallery_dataloader=dict(dataset=_images))
val_evaluator = dict(_delete_=True, type='KNNAccuracy', k=(20, ))
test_dataloader = dict(dataset=dict(_delete_=True))

# Twenty passes, however many images there are: --epochs chooses.
train_cfg = dict(max_epochs=20)
