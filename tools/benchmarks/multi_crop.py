"""Time ten crops of each JPEG, from the file to a batch, on one core.

The straightforward side decodes once and then makes one crop after the other
with Pillow and torchvision, as normalised floats, like the code of DINO's
authors. Ours is the pipeline of
configs/_base_/datasets/imagenet_multi_crop.py, whose uint8 crops are
normalised on the device. Both use the same random numbers; the authors' own
augmentation uses others.

    python tools/benchmarks/multi_crop.py --images photos.zip \\
        --reference CHECKOUT
"""
import argparse
import io
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import authors
import cv2
import numpy as np
import torch
import torchvision.transforms.functional as TF
from mmengine.config import Config
from mmengine.dataset import RepeatDataset, default_collate
from mmengine.fileio import get
from mmengine.runner import Runner
from PIL import Image, ImageFilter
from side_by_side import (add_reference, compare, import_authors, parse,
                          parser, report)
from torch import Tensor
from torch.utils.data import DataLoader

from mmdino.datasets import Images
from mmdino.registry import MODELS
from mmdino.utils.tool import run_tool

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/_base_/datasets/imagenet_multi_crop.py'
MODEL = ROOT / 'configs/_base_/models/dino_vit.py'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# size, scale, blur probability, solarize probability: facts of the paper
VIEWS = [(224, (.4, 1.), 1., 0.),
         (224, (.4, 1.), .1, .2)] + 8 * [(96, (.05, .4), .5, 0.)]


def straightforward(path: str) -> list[Tensor]:
    """Return views (3, H, W) of one image, float32, normalised."""
    image = Image.open(io.BytesIO(get(path))).convert('RGB')
    return [one_crop(image, *view) for view in VIEWS]


def one_crop(image: Image.Image, size: int, scale: tuple, blur: float,
             solarize: float) -> Tensor:
    box = draw_box(image.height, image.width, scale)
    crop = TF.resized_crop(image, *box, (size, size),
                           TF.InterpolationMode.BICUBIC)
    if np.random.rand() < .5:
        crop = TF.hflip(crop)
    if np.random.rand() < .8:
        crop = jitter(crop)
    if np.random.rand() < .2:
        crop = TF.to_grayscale(crop, 3)
    if np.random.rand() < blur:
        radius = np.random.uniform(.1, 2.)
        crop = crop.filter(ImageFilter.GaussianBlur(radius))
    if solarize and np.random.rand() < solarize:
        crop = TF.solarize(crop, 128)
    return TF.normalize(TF.to_tensor(crop), MEAN, STD)


def jitter(crop: Image.Image) -> Image.Image:
    steps = [(TF.adjust_brightness, (.6, 1.4)),
             (TF.adjust_contrast, (.6, 1.4)),
             (TF.adjust_saturation, (.8, 1.2)), (TF.adjust_hue, (-.1, .1))]
    for i in np.random.permutation(4):
        adjust, bounds = steps[i]
        crop = adjust(crop, np.random.uniform(*bounds))
    return crop


def draw_box(height: int, width: int, scale: tuple) -> tuple:
    """Draw top, left, height and width of a random crop, in pixels."""
    for _ in range(10):
        area = height * width * np.random.uniform(*scale)
        ratio = math.exp(np.random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = np.random.randint(height - h + 1)
            return top, np.random.randint(width - w + 1), h, w
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def draw_photos(folder: Path, count: int) -> None:
    """Write JPEGs of 500 x 375 px: shades on several scales and noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = np.zeros((375, 500, 3))
        for cells, strength in ((3, 60), (12, 25), (48, 12), (160, 6)):
            shades = rng.standard_normal((cells, cells, 3))
            photo += strength * cv2.resize(shades, (500, 375))
        photo += 127 + 4 * rng.standard_normal(photo.shape)
        pixels = photo.clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{i:02}.jpg', quality=90)


def our_dataset(images: str) -> Images:
    pipeline = Config.fromfile(CONFIG).train_dataloader.dataset.pipeline
    return Images(images, pipeline=pipeline)


def paths_of(dataset: Images) -> list[str]:
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def batch_straightforward(dataset: Images, seed: int = 0) -> list[Tensor]:
    """Return views (B, 3, H, W), float32, normalised."""
    np.random.seed(seed)
    views = [straightforward(path) for path in paths_of(dataset)]
    return [torch.stack(same) for same in zip(*views)]


def batch_ours(dataset: Images, seed: int = 0) -> dict:
    """Return a batch with ``inputs``, views (B, 3, H, W), uint8 BGR."""
    np.random.seed(seed)
    return default_collate([dataset[i] for i in range(len(dataset))])


def normalise(batch: dict) -> list[Tensor]:
    """Normalise our batch, as the data preprocessor does on the device."""
    cfg = Config.fromfile(MODEL).model.data_preprocessor
    return MODELS.build(dict(cfg, type=f'mmdino.{cfg.type}'))(batch)['inputs']


def load_sides(dataset: Images, repeats: int,
               args: argparse.Namespace) -> dict[str, Callable]:
    """Return functions for an epoch of each side's persistent loader."""
    shared = dict(
        batch_size=8, num_workers=args.workers, persistent_workers=True)
    cfg = Config.fromfile(CONFIG).train_dataloader
    cfg.update(
        shared, pin_memory=False, dataset=RepeatDataset(dataset, repeats))
    loaders = dict(ours=Runner.build_dataloader(cfg, seed=0))
    if args.reference:
        photos = authors.Photos(repeats * paths_of(dataset))
        loaders = dict(
            authors=DataLoader(photos, shuffle=True, **shared), **loaders)
    return {
        name: lambda loader=loader: [len(batch) for batch in loader]
        for name, loader in loaders.items()
    }


def crop_sides(dataset: Images,
               args: argparse.Namespace) -> dict[str, Callable]:
    """Return functions that make a batch of each side in this process."""
    sides = dict(
        straightforward=lambda: batch_straightforward(dataset),
        ours=lambda: batch_ours(dataset))
    if args.reference:
        photos = authors.Photos(paths_of(dataset))
        sides = dict(authors=lambda: default_collate([*photos]), **sides)
    return sides


def main(args: argparse.Namespace) -> None:
    cv2.setNumThreads(0)
    if args.reference:
        import_authors(args.reference)
    repeats = 1 if args.quick or not args.workers else 4
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), 8 if args.quick else 32)
        dataset = our_dataset(args.images or folder)
        sides = load_sides(dataset, repeats,
                           args) if args.workers else crop_sides(
                               dataset, args)
        figures = compare(
            sides, args, per_round=repeats * len(dataset), unit='images/s')
    report(
        'multi_crop',
        args,
        unit='images/s',
        images=repeats * len(dataset),
        workers=args.workers,
        source='given' if args.images else 'drawn',
        **figures)


if __name__ == '__main__':
    options = parser(__doc__)
    add_reference(options)
    options.add_argument(
        '--workers',
        type=int,
        default=0,
        help='time whole loaders with so many workers instead')
    options.add_argument(
        '--images',
        help='folder or zip archive of JPEGs (default: drawn images)')
    run_tool(lambda: main(parse(options)))
