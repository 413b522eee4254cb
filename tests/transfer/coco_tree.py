"""A small detection data set in COCO's layout."""
import json

import cv2
import numpy as np

CLASSES = ('person', 'bicycle')  # COCO's first two
SIDE = 128


def write_coco(root, num_images=6, categories=CLASSES):
    """Bright discs and squares on noise, the same images in both splits."""
    for split in ('train', 'val'):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(num_images):
            name = f'{i:012d}.jpg'
            pixels, objects = draw(np.random.default_rng(i))
            cv2.imwrite(str(root / split / name), pixels)
            images.append(dict(id=i, file_name=name, width=SIDE, height=SIDE))
            for mask, label in objects:
                annotations.append(annotation(mask, label, len(annotations)))
                annotations[-1]['image_id'] = i
        path = root / f'annotations/{split}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=annotations,
                    categories=[
                        dict(id=i + 1, name=name)
                        for i, name in enumerate(categories)
                    ])))


def draw(rng):
    """An image (SIDE, SIDE, 3) and its objects, (mask, label) each."""
    pixels = rng.integers(0, 60, (SIDE, SIDE, 3), np.uint8)
    objects = []
    for label, x in enumerate((32, 96)):  # one a half, no overlap
        mask = np.zeros((SIDE, SIDE), np.uint8)
        center = (x, int(rng.integers(32, 96)))
        radius = int(rng.integers(14, 26))
        if label:
            cv2.rectangle(mask, [c - radius for c in center],
                          [c + radius for c in center], 1, -1)
        else:
            cv2.circle(mask, center, radius, 1, -1)
        pixels[mask > 0] = (60, 220, 60) if label else (60, 60, 220)
        objects.append((mask, label))
    return pixels, objects


def annotation(mask, label, number):
    contour = max(
        cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0],
        key=len)
    return dict(
        id=number + 1,
        category_id=label + 1,
        bbox=[float(x) for x in cv2.boundingRect(contour)],
        area=float(mask.sum()),
        segmentation=[contour.flatten().astype(float).tolist()],
        iscrowd=0)
