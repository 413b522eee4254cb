# CIFAR-10 for CPUs, a minute and a half for each row on a free core: a ViT
# with two blocks and patches of 8 px, and 2,000 images.
#   python tools/ablate.py TABLE --base cifar10 --data DIR
_base_ = [
    '../../_base_/models/dino_vit-tiny.py',
    '../../quickstart/_base_/cifar10.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=48, num_heads=3, feedforward_channels=96),
        img_size=32),
    predict_attention=False)

train_dataloader = dict(batch_size=64, dataset=dict(images_per_class=200))
test_dataloader = dict(dataset=dict(images_per_class=100))
test_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=200)))
test_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    # Logistic regression on all labels takes seconds, SGD would take minutes.
    dict(type='LowShotAccuracy', C=(100., ))
]

# 930 steps, after which runs with only centring or only sharpening have
# collapsed.
train_cfg = dict(max_epochs=30)
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # 1e-3 at a batch of 64
default_hooks = dict(
    logger=dict(interval=5), collapse=dict(interval=15, begin=2))
