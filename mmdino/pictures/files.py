"""Image and video files for the figures: finding, reading, writing."""
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmdino.datasets.images import Images
from mmdino.datasets.listing import is_image
from mmdino.datasets.transforms.loading import LoadImage, UnreadableImageError
from mmdino.utils.progress import track


def is_video(path: Path) -> bool:
    """Return whether a path is a video: no image, no archive."""
    return path.is_file() and not (is_image(path.name)
                                   or path.suffix == '.zip')


def find_images(source: Path) -> list[str]:
    """Return the image at a path, or those in a folder or archive.

    Raises:
        FileNotFoundError: If there is no such file or folder.
    """
    if not source.exists():
        raise FileNotFoundError(f'There is no file or folder {source}.')
    if is_image(source.name):
        return [str(source)]
    images = Images(str(source), with_label=False)
    return [images.get_data_info(i)['img_path'] for i in range(len(images))]


def read_images(paths: Sequence[str],
                what: str = 'Image',
                color_type: str = 'color') -> Iterator[tuple[int, np.ndarray]]:
    """The images that can be read, with their progress in the log.

    A warning lists those that cannot be read.

    Args:
        paths: Paths of the images.
        what: What the progress lines start with.
        color_type: As of :class:`.LoadImage`.

    Yields:
        The index in ``paths`` and the image (H, W, C); by default uint8 BGR.

    Raises:
        UnreadableImageError: At the end, if none can be read.
    """
    load, causes = LoadImage(color_type), []
    for place, path in track(list(enumerate(paths)), what):
        try:
            image = load(dict(img_path=path))['img']
        except UnreadableImageError as error:
            causes.append(str(error))
            continue
        yield place, image
    if len(causes) == len(paths):
        raise UnreadableImageError(f'No image can be read: {causes[0]}')
    if causes:
        print_log(
            f'{len(causes)} of {len(paths)} images cannot be read and are '
            f'left out: {"; ".join(causes[:5])}'
            f'{"; ..." if len(causes) > 5 else ""}',
            logger='current',
            level=logging.WARNING)


def name_stems(paths: Sequence[str]) -> list[str]:
    """Return the images' names without extension, numbered if equal.

    A number is skipped if another image already has the resulting name.
    """
    stems = [Path(path).stem for path in paths]
    counts, taken, names = Counter(stems), set(stems), []
    numbers = {stem: itertools.count() for stem in counts}
    for name in stems:
        if counts[name] > 1:
            name = next(f'{name}_{i}' for i in numbers[name]
                        if f'{name}_{i}' not in taken)
            taken.add(name)
        names.append(name)
    return names


def write_pictures(pictures: dict[str, np.ndarray], folder: Path) -> None:
    """Write each figure (H, W, 3) or (H, W), uint8 BGR, to NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        path = folder / f'{name}.png'
        path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


def draw_video(draw: Callable[[np.ndarray], np.ndarray], path: Path,
               out: Path) -> int:
    """Write a video with other frames, of the same length, size and rate.

    The codec supports even sides only: if a side is odd, the last row or
    column of pixels is lost. ``out`` appears only when it is complete.

    Args:
        draw: Turns a frame (H, W, 3), uint8 BGR, into another of this shape.
        path: Video to read.
        out: The .mp4 file to write.

    Returns:
        The number of frames.

    Raises:
        ValueError: If no frame can be read, or OpenCV cannot write the file.
    """
    count = count_frames(path)
    if not count:
        raise ValueError(f'{path} is no video that OpenCV can read.')
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
        writer.write(draw(frame))
    writer.release()
    part.replace(out)
    return count


def count_frames(path: Path) -> int:
    """Count the frames of a video by decoding it; the header may be wrong."""
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.grab():
        count += 1
    return count


def read_frames(path: Path, count: int) -> list[np.ndarray]:
    """Read at most ``count`` frames (H, W, 3), uint8 BGR, evenly spaced.

    Raises:
        ValueError: If no frame can be read.
    """
    total = count_frames(path)
    if not total:
        raise ValueError(f'{path} is no video that OpenCV can read.')
    wanted = {
        *np.linspace(0, total - 1, min(count, total)).round().astype(int)
    }
    video, frames = cv2.VideoCapture(str(path)), []
    for i in range(total):
        frame = video.read()[1]
        if i in wanted:
            frames.append(frame)
    return frames
