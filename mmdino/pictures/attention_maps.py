"""The class token's attention to images and videos of any size, and pictures.

H heads, (h, w) the patch grid; images are (H', W', 3) uint8 BGR.
"""
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from torch import Tensor

from mmdino.functional.attention import mass_threshold
from mmdino.models import FrozenTeacher
from mmdino.pictures.attention import RED, overlay
from mmdino.utils.progress import track


class AttentionMaps:
    """Lets a network look at images.

    Args:
        model: In eval mode, with a backbone that tells its attention.
        size: Pixels of the short side to which images are scaled first; None
            keeps their size. Both sides are then rounded to multiples of the
            patch. As in the test pipelines, by Pillow's antialiased bicubic.
        mass: Fraction of the mean attention that the mask keeps.

    Raises:
        ValueError: If the backbone tells no attention, or a number is out of
            its range.
    """

    def __init__(self,
                 model: FrozenTeacher,
                 size: int | None = None,
                 mass: float = 0.6) -> None:
        model.require_attention()
        if size is not None and size < 1 or not 0 < mass <= 1:
            raise ValueError('size must be positive and mass in (0, 1], got '
                             f'{size} and {mass}.')
        self.model = model
        self.size = size
        self.mass = mass

    @torch.no_grad()
    def attend(self, image: np.ndarray) -> Tensor:
        """Attention (H, h, w) of the teacher's class token, on the CPU."""
        image = mmcv.imresize(
            image,
            _fit(image.shape[:2], self.size, self.model.backbone.patch_size),
            interpolation='bicubic',
            backend='pillow')
        inputs = torch.from_numpy(image).permute(2, 0, 1)[None]
        data = self.model.data_preprocessor(
            dict(inputs=inputs, data_samples=[]))
        return self.model.class_attention(data['inputs'])[0].cpu()

    def mask(self, attention: Tensor) -> np.ndarray:
        """Patches (h, w) that hold the mass of the mean attention, bool."""
        mean = attention.mean(dim=0, keepdim=True)
        return mass_threshold(mean, self.mass)[0].numpy()

    def overlay(self, image: np.ndarray, attention: Tensor) -> np.ndarray:
        """The image with the mask's patches tinted red, BGR."""
        return overlay(image, self.mask(attention), color=RED[::-1])

    def pictures(self, image: np.ndarray,
                 attention: Tensor) -> dict[str, np.ndarray]:
        """Pictures as large as the image, BGR, by their names."""
        shape = image.shape[:2]
        pictures = {
            f'head_{i:02d}': heat_map(head, shape)
            for i, head in enumerate(attention, 1)
        }
        mask = self.mask(attention).astype(np.uint8) * 255
        return dict(
            pictures,
            mean=heat_map(attention.mean(dim=0), shape),
            mask=_enlarge(mask, shape),
            overlay=self.overlay(image, attention))


def heat_map(values: Tensor, shape) -> np.ndarray:
    """A map (h, w) as an image of a shape, BGR, black where nothing is."""
    scaled = (255 * values / values.max()).round().byte().numpy()
    return cv2.applyColorMap(_enlarge(scaled, shape), cv2.COLORMAP_INFERNO)


def _enlarge(values: np.ndarray, shape) -> np.ndarray:
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_NEAREST)


def write_pictures(pictures: dict[str, np.ndarray], folder: Path) -> None:
    """Write NAME.png each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        path = folder / f'{name}.png'
        path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


def _fit(shape, size: int | None, patch: int):
    """(width, height) in pixels, multiples of the patch."""
    scale = 1 if size is None else size / min(shape)
    height, width = (
        max(1, round(side * scale / patch)) * patch for side in shape)
    return width, height


def draw_video(maps: AttentionMaps, path: Path, out: Path) -> int:
    """Write a video as long, as large and as fast, with the mask in red.

    The codec knows even sides alone: of an odd one the last row or column of
    pixels is left out. The ``.mp4`` appears when it is whole; returns the
    number of frames.

    Raises:
        ValueError: If no frame can be read, or OpenCV cannot write.
    """
    count = count_frames(path)
    if not count:
        raise ValueError(f'{path} is no video with frames that OpenCV reads.')
    video = cv2.VideoCapture(str(path))
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    part = out.with_name(f'{out.stem}.part.mp4')
    writer = cv2.VideoWriter(
        str(part), cv2.VideoWriter_fourcc(*'mp4v'),
        video.get(cv2.CAP_PROP_FPS) or 25, size)
    if not writer.isOpened():
        raise ValueError(f'OpenCV cannot write the video {part}.')
    for _ in track(range(count), f'Video {path.name}'):
        frame = video.read()[1]
        writer.write(maps.overlay(frame, maps.attend(frame)))
    writer.release()
    part.replace(out)
    return count


def count_frames(path: Path) -> int:
    """Count by decoding: what a header says may be too few or too many."""
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.grab():
        count += 1
    return count
