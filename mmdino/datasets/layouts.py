"""How the data sets lie below one folder, ``data/`` unless told otherwise.

Each is the layout in which its benchmark is distributed, so that unpacking
the archives side by side is all there is to do.
"""
from typing import Dict, NamedTuple


class Layout(NamedTuple):
    """Where a data set lies.

    Attributes:
        title: The data set's name.
        source: Where its owners offer it.
        config: A config below ``configs/eval`` that reads all of it.
        tree: Its folders, one a line, relative to the data folder.
    """
    title: str
    source: str
    config: str
    tree: str


LAYOUTS: Dict[str, Layout] = {
    'imagenet':
    Layout(
        'ImageNet (ILSVRC 2012)', 'https://image-net.org', 'knn_vit-s16.py',
        """\
imagenet/train/n01440764/n01440764_18.JPEG    one folder a class
imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG"""),
    'roxford5k':
    Layout(
        'Revisited Oxford', 'http://cmp.felk.cvut.cz/revisitop',
        'retrieval-roxford_vit-s16.py', """\
revisitop/roxford5k/gnd_roxford5k.pkl
revisitop/roxford5k/jpg/all_souls_000000.jpg"""),
    'rparis6k':
    Layout(
        'Revisited Paris', 'http://cmp.felk.cvut.cz/revisitop',
        'retrieval-rparis_vit-s16.py', """\
revisitop/rparis6k/gnd_rparis6k.pkl
revisitop/rparis6k/jpg/paris_defense_000000.jpg"""),
    'copydays':
    Layout(
        'INRIA Copydays', 'https://lear.inrialpes.fr/~jegou/data.php',
        'copydays_vit-b8.py', """\
copydays/original/200000.jpg
copydays/strong/200001.jpg
copydays_distractors/...                      any images, optional
copydays_whitening/...                        any other images, optional"""),
    'davis2017':
    Layout(
        'DAVIS 2017, trainval, 480p', 'https://davischallenge.org',
        'davis_vit-s8.py', """\
DAVIS/ImageSets/2017/val.txt
DAVIS/JPEGImages/480p/bike-packing/00000.jpg
DAVIS/Annotations/480p/bike-packing/00000.png"""),
    'voc2012':
    Layout(
        'PASCAL VOC 2012, trainval', 'http://host.robots.ox.ac.uk/pascal/VOC',
        'attention-voc12_vit-s16.py', """\
VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt
VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg
VOCdevkit/VOC2012/SegmentationObject/2007_000033.png"""),
}
