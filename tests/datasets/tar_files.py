"""Shards for tests."""
import io
import tarfile

import cv2
import numpy as np


def picture(number: int, size: int = 40) -> bytes:
    """A PNG of noise whose mean grows with its number at first."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, min(30 + 10 * number, 256), (size, size + 8, 3),
                          np.uint8)
    return cv2.imencode('.png', pixels)[1].tobytes()


def write_tar(path, members: dict) -> str:
    """A tar file of members by name, in their order."""
    with tarfile.open(path, 'w') as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def write_shards(folder, shards: int = 3, samples: int = 4) -> list[str]:
    """Pictures 0, 1, ... with the label number % 3, so many a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for shard in range(shards):
        members = {}
        for n in range(shard * samples, (shard + 1) * samples):
            members[f'{n:04}.png'] = picture(n)
            members[f'{n:04}.cls'] = b'%d' % (n % 3)
        paths.append(write_tar(folder / f's-{shard:03}.tar', members))
    return paths
