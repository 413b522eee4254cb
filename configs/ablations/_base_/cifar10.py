# The quickstart's setting of CIFAR-10 at half its width and half the images,
# for CPU cores:
#   python tools/ablate.py guard --base cifar10 --data DIR
_base_ = '../../quickstart/dino_vit-tiny_cifar10.py'

model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=48, num_layers=2, num_heads=3,
            feedforward_channels=96)),
    predict_attention=False)

train_dataloader = dict(dataset=dict(images_per_class=200))
test_dataloader = dict(dataset=dict(images_per_class=100))
test_cfg = dict(gallery_dataloader=dict(dataset=dict(images_per_class=200)))

# The linear classifier is logistic regression on the gallery's features.
test_evaluator = [
    dict(type='KNNAccuracy', k=(20, )),
    dict(type='LowShotAccuracy', C=(1000., ), prefix='linear')
]

train_cfg = dict(max_epochs=10)
default_hooks = dict(
    teacher=dict(momentum=0.95), collapse=dict(interval=15, begin=2))
