"""The expected folders of the data sets, and the class that checks them.

By default the data sets are folders in ``data/``. Each has the layout in which
it is distributed, so that unpacking its archives side by side is enough.
"""
import os
import os.path as osp
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmpretrain.datasets import BaseDataset

from mmdino.datasets.transforms import build_steps


class Layout(NamedTuple):
    """The folders and files of a data set, and its source.

    Attributes:
        title: Name of the data set.
        source: Web page of its owners.
        config: A config in ``configs`` that reads all of it.
        tree: Examples of its files, one a line, relative to the data folder.
        files: Files and folders to check for, relative to the data folder,
            for data sets whose loader does not name a missing file.
    """
    title: str
    source: str
    config: str
    tree: str
    files: tuple[str, ...] = ()


def first_missing(layout: Layout, folder: Path) -> str | None:
    """Return a message about the first file that is missing, or None.

    Args:
        layout: The layout, whose ``files`` are checked.
        folder: The data folder.
    """
    for name in layout.files:
        if not (folder / name).exists():
            return f'{folder / name} does not exist'
    return None


CIFAR10 = 'cifar10/cifar-10-batches-py'
CIFAR100 = 'cifar100/cifar-100-python'

LAYOUTS: dict[str, Layout] = dict(
    imagenet=Layout(
        'ImageNet (ILSVRC 2012)', 'https://image-net.org', 'benchmarks/knn.py',
        """\
imagenet/train/n01440764/n01440764_18.JPEG    one folder a class
imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG"""),
    roxford5k=Layout(
        'Revisited Oxford', 'http://cmp.felk.cvut.cz/revisitop',
        'benchmarks/retrieval-roxford.py', """\
revisitop/roxford5k/gnd_roxford5k.pkl
revisitop/roxford5k/jpg/all_souls_000000.jpg"""),
    rparis6k=Layout(
        'Revisited Paris', 'http://cmp.felk.cvut.cz/revisitop',
        'benchmarks/retrieval-rparis.py', """\
revisitop/rparis6k/gnd_rparis6k.pkl
revisitop/rparis6k/jpg/paris_defense_000000.jpg"""),
    copydays=Layout(
        'INRIA Copydays', 'https://lear.inrialpes.fr/~jegou/data.php',
        'benchmarks/copydays.py', """\
copydays/original/200000.jpg
copydays/strong/200001.jpg
copydays_distractors/...                      any images, optional
copydays_whitening/...                        any other images, optional"""),
    davis2017=Layout(
        'DAVIS 2017, trainval, 480p', 'https://davischallenge.org',
        'benchmarks/davis.py', """\
DAVIS/ImageSets/2017/val.txt
DAVIS/JPEGImages/480p/bike-packing/00000.jpg
DAVIS/Annotations/480p/bike-packing/00000.png"""),
    voc2012=Layout(
        'PASCAL VOC 2012, trainval', 'http://host.robots.ox.ac.uk/pascal/VOC',
        'benchmarks/attention-voc12.py', """\
VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt
VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg
VOCdevkit/VOC2012/SegmentationObject/2007_000033.png"""),
    voc2012_classes=Layout(
        'PASCAL VOC 2012, trainval, by class',
        'http://host.robots.ox.ac.uk/pascal/VOC', 'benchmarks/dense-voc12.py',
        """\
VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt
VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg
VOCdevkit/VOC2012/SegmentationClass/2007_000032.png"""),
    ade20k=Layout(
        'ADE20K (SceneParse150)', 'http://sceneparsing.csail.mit.edu',
        'benchmarks/dense-ade20k.py', """\
ade/ADEChallengeData2016/images/training/ADE_train_00000001.jpg
ade/ADEChallengeData2016/annotations/training/ADE_train_00000001.png
ade/ADEChallengeData2016/images/validation/ADE_val_00000001.jpg
ade/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"""),
    voc2007=Layout(
        'PASCAL VOC 2007, trainval', 'http://host.robots.ox.ac.uk/pascal/VOC',
        'benchmarks/discovery-voc07.py', """\
VOCdevkit/VOC2007/ImageSets/Main/trainval.txt
VOCdevkit/VOC2007/JPEGImages/000005.jpg
VOCdevkit/VOC2007/Annotations/000005.xml"""),
    cifar10=Layout('CIFAR-10, Python version',
                   'https://www.cs.toronto.edu/~kriz/cifar.html',
                   'transfer/mmpretrain/finetune_cifar10.py', """\
cifar10/cifar-10-batches-py/data_batch_1""",
                   (f'{CIFAR10}/batches.meta', *(f'{CIFAR10}/data_batch_{i}'
                                                 for i in range(1, 6)),
                    f'{CIFAR10}/test_batch')),
    cifar100=Layout(
        'CIFAR-100, Python version',
        'https://www.cs.toronto.edu/~kriz/cifar.html',
        'transfer/mmpretrain/finetune_cifar100.py', """\
cifar100/cifar-100-python/train""",
        tuple(f'{CIFAR100}/{name}' for name in ('meta', 'train', 'test'))),
    flowers102=Layout(
        'Oxford Flowers-102',
        'https://www.robots.ox.ac.uk/~vgg/data/flowers/102',
        'transfer/mmpretrain/finetune_flowers102.py', """\
flowers102/imagelabels.mat
flowers102/setid.mat
flowers102/jpg/image_00001.jpg""", ('flowers102/imagelabels.mat',
                                    'flowers102/setid.mat', 'flowers102/jpg')),
    cars=Layout(
        'Stanford Cars',
        'https://ai.stanford.edu/~jkrause/cars/car_dataset.html',
        'transfer/mmpretrain/finetune_cars.py', """\
stanford_cars/devkit/cars_train_annos.mat
stanford_cars/devkit/cars_test_annos_withlabels.mat
stanford_cars/cars_train/00001.jpg
stanford_cars/cars_test/00001.jpg""",
        ('stanford_cars/devkit/cars_train_annos.mat',
         'stanford_cars/devkit/cars_test_annos_withlabels.mat',
         'stanford_cars/cars_train', 'stanford_cars/cars_test')),
    inat18=Layout(
        'iNaturalist 2018', 'https://github.com/visipedia/inat_comp',
        'transfer/mmpretrain/finetune_inat18.py', """\
inaturalist2018/train2018.json
inaturalist2018/val2018.json
inaturalist2018/train_val2018/Plantae/7477/3b60c948.jpg"""),
    inat19=Layout(
        'iNaturalist 2019', 'https://github.com/visipedia/inat_comp',
        'transfer/mmpretrain/finetune_inat19.py', """\
inaturalist2019/train2019.json
inaturalist2019/val2019.json
inaturalist2019/train_val2019/Plants/400/d1322d13.jpg"""),
)


class BenchmarkDataset(BaseDataset):
    """Base class of data sets in the layout in which they are distributed.

    Args:
        data_root: Folder of the data set.
        pipeline: Transforms, or a single one.
        ann_file: Annotation file, relative to ``data_root``, or ''.
        **kwargs: Other arguments of mmpretrain's BaseDataset, such as
            ``indices``.

    Attributes:
        layout (str): Description of the expected files, which ends the error
            messages.
    """

    layout = ''

    def __init__(self,
                 data_root: str,
                 pipeline: Sequence | dict = (),
                 ann_file: str = '',
                 **kwargs) -> None:
        super().__init__(
            ann_file=ann_file,
            data_root=osp.normpath(osp.expanduser(data_root)),
            pipeline=build_steps(pipeline).transforms,
            **kwargs)

    def require(self, paths: Iterable[str], what: str) -> None:
        """Raise an error if files are missing; each folder is listed once.

        Args:
            paths: Files, or folders, that must exist.
            what: What they are, for the error message.

        Raises:
            FileNotFoundError: If one is missing; names it and ``what``.
        """
        listed = {}
        for path in paths:
            folder, name = osp.split(path)
            if folder not in listed:
                listed[folder] = list_files(folder)
            if name not in listed[folder]:
                raise FileNotFoundError(
                    f'{path} does not exist: {what}. {type(self).__name__} '
                    f'needs {self.layout}')


def list_files(folder: str) -> set[str]:
    """Return the names of the files and folders in a folder.

    Broken links are left out. The set is empty if there is no such folder.
    """
    if not osp.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {e.name for e in entries if e.is_file() or e.is_dir()}
