# The crops of DINOv2 at 518 px; local ones keep their share of the side, which
# is not published.
_base_ = 'imagenet_dinov2.py'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(size=518)),
                global_2=dict(crop=dict(size=518)),
                local=dict(crop=dict(size=224))))))
