"""Attention drawn over a video."""
from pathlib import Path
from typing import Iterator

import cv2
import numpy as np

from mmdino.progress import track
from .attention_maps import AttentionMaps


def draw_video(maps: AttentionMaps, path: Path, out: Path) -> int:
    """Write a video as long, as large and as fast, with the mask in red.

    Args:
        maps: The network.
        path: A video that OpenCV can read.
        out: The ``.mp4`` to write; it appears when it is whole.

    Returns:
        The number of frames.

    Raises:
        ValueError: If no frame can be read, or OpenCV cannot write.
    """
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = video.get(cv2.CAP_PROP_FPS) or 25
    size = [
        int(video.get(key))
        for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    ]
    if count < 1 or min(size) < 1:
        raise ValueError(f'{path} is no video with frames that OpenCV reads.')
    part = out.with_name(f'{out.stem}.part.mp4')
    writer = cv2.VideoWriter(
        str(part), cv2.VideoWriter_fourcc(*'mp4v'), rate, size)
    if not writer.isOpened():
        raise ValueError(f'OpenCV cannot write the video {part}.')
    written = 0
    frames = _frames(video)
    for _ in track(range(count), f'Video {path.name}'):
        frame = next(frames, None)
        if frame is None:  # the header promised more
            break
        writer.write(maps.overlay(frame, maps.attend(frame)))
        written += 1
    writer.release()
    if not written:
        part.unlink(missing_ok=True)
        raise ValueError(f'{path} is no video with frames that OpenCV reads.')
    part.replace(out)
    return written


def _frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        read, frame = video.read()
        if not read:
            return
        yield frame
