# 10,000 images of CIFAR-10, and k-NN of 2,000 others.
_base_ = 'cifar10_multi_crop.py'

# Only two global views: with local ones, half as many steps would fit into the
# same time.
train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        with_label=True,
        images_per_class=1000,
        pipeline=dict(views=dict(local=dict(num_views=0)))))
val_dataloader = dict(dataset=dict(images_per_class=200))
val_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=1000)))
