"""Whose results a folder holds."""
import json
import os
from pathlib import Path
from typing import Optional, Union


def lock_folder(folder: Union[str, Path], config: Optional[str],
                checkpoint: str) -> None:
    """Make a folder, which keeps results, one checkpoint's and config's own.

    ``owner.json`` in it names both. A folder without one belongs to whoever
    comes first.

    Args:
        folder: The folder, made if it does not exist.
        config: Config file; None for the one in the checkpoint.
        checkpoint: Checkpoint file; one that was written anew is another.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the folder belongs to others.
    """
    stat = os.stat(checkpoint)
    owner = dict(
        config=config and os.path.abspath(config),
        checkpoint=os.path.abspath(checkpoint),
        size=stat.st_size,
        modified=stat.st_mtime)
    file = Path(folder) / 'owner.json'
    if file.exists():
        if json.loads(file.read_text()) != owner:
            raise ValueError(
                f'{folder} holds the figures of another checkpoint or '
                f'config, see {file}: give another folder, or delete it.')
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f'{file.name}.{os.getpid()}')  # a rank each
    part.write_text(json.dumps(owner, indent=2))
    part.replace(file)
