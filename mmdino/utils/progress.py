"""Progress of long steps, as a few log lines with the time left."""
import datetime
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from mmengine.logging import print_log

Item = TypeVar('Item')


def track(items: Iterable[Item],
          name: str,
          interval: float = 5.) -> Iterator[Item]:
    """Yield the items and log how many are done and the time left.

    A line is logged every ``interval`` seconds, and one at the end. A loop of
    seconds leaves one line, and a loop of hours does not flood the log file.
    The lines go to the current MMEngine logger, which prints on rank 0 only.

    Args:
        items: The items; they must have a length.
        name: What the lines begin with.
        interval: Time between two lines, in seconds.
    """
    total, start = len(items), time.monotonic()
    due = start + interval
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done < total and now >= due:
            left = (now - start) / done * (total - done)
            print_log(
                f'{name} [{done}/{total}]  '
                f'eta: {datetime.timedelta(seconds=round(left))}',
                logger='current')
            due = now + interval
    print_log(
        f'{name} [{total}/{total}]  time: {time.monotonic() - start:.1f} s',
        logger='current')
