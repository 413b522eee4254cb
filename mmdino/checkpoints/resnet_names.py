"""Names of a ResNet's tensors, the same everywhere."""
RESNET_NAMES = tuple((name, name) for name in (
    'conv1.{p}',
    'bn1.{p}',
    'layer{n}.{p}',
))
