# Linear classification as in DINOv2: on the class tokens of the last 1 or 4
# blocks, with or without the mean patch token, with 13 learning rates. The 52
# classifiers are trained at once: 8 GPUs x 128 images, 10 epochs of SGD with a
# cosine schedule by iterations. To run it:
#   python tools/train.py configs/benchmarks/linear-blocks.py \
#       --checkpoint CHECKPOINT
# The best classifier is chosen on a tenth of the training images, which is
# held out, and reported on the validation images. (The authors choose on the
# validation images.)
_base_ = 'linear.py'

model = dict(
    features=dict(type='BlocksAndMean', blocks=(1, 4)),
    learning_rates=[
        1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2,
        .1
    ])

_images = _base_.train_dataloader.dataset
_images.pipeline[1].interpolation = 'bicubic'
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type='HeldOut', share=.1, rest=True, dataset=_images))

_view = [
    dict(type='LoadImage', exif_orientation=False),
    dict(type='CenterView', size=None),
    dict(type='mmpretrain.PackInputs'),
]
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='HeldOut',
                share=.1,
                dataset=dict(
                    type='Images',
                    subset='train',
                    with_label=True,
                    pipeline=_view)),
            dict(type='Images', subset='val', with_label=True, pipeline=_view),
        ]))
val_evaluator = dict(choose_on=0)
default_hooks = dict(checkpoint=dict(save_best='linear/chosen_on_top1'))

param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min=0.,
        by_epoch=True,
        convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=10)
