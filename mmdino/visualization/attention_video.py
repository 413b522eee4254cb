"""Attention drawn over a video."""
from pathlib import Path

import cv2

from mmdino.progress import track
from .attention_maps import AttentionMaps


def draw_video(maps: AttentionMaps, path: Path, out: Path) -> int:
    """Write a video as long, as large and as fast, with the mask in red.

    The codec knows even sides alone: of an odd one the last row or column of
    pixels is left out.

    Args:
        maps: The network.
        path: A video that OpenCV can read.
        out: The ``.mp4`` to write; it appears when it is whole.

    Returns:
        The number of frames.

    Raises:
        ValueError: If no frame can be read, or OpenCV cannot write.
    """
    count = count_frames(path)
    if not count:
        raise ValueError(f'{path} is no video with frames that OpenCV reads.')
    video = cv2.VideoCapture(str(path))
    size = [
        int(video.get(key))
        for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    ]
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
