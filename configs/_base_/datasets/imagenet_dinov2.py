# The crops of DINOv2: global crops of at least .32 of the image, local ones of
# at most that.
_base_ = 'imagenet_multi_crop.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.32, 1.0))),
                global_2=dict(crop=dict(scale=(0.32, 1.0))),
                local=dict(crop=dict(scale=(0.05, 0.32)))))))
