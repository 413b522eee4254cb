# The crops of the released models: global crops of at least a quarter of the
# image, and ten local crops.
_base_ = 'imagenet_multi_crop.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.25, 1.0))),
                global_2=dict(crop=dict(scale=(0.25, 1.0))),
                local=dict(num_views=10, crop=dict(scale=(0.05, 0.25)))))))
