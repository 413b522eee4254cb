# The quickstart's network on real images, 10,000 of CIFAR-10 at 32 px, for CPU
# cores. python tools/ablate.py --base cifar10 takes it.
_base_ = '../../quickstart/dino_vit-tiny_cifar10.py'
