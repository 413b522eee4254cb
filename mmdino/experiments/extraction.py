"""Extract the features of a gallery and of queries into files."""
import copy
import json
import os
from pathlib import Path
from typing import Dict, Optional, Union

from mmengine.config import Config

from mmdino.datasets.feature_rows import Features, load_features
from mmdino.engine.launch import build_runner
from mmdino.engine.testing import use_checkpoint

PARTS = ('gallery', 'queries')


def extract_features(cfg: Config, checkpoint: str,
                     folder: Union[str, Path]) -> Dict[str, Features]:
    """Embed the gallery and the queries of a config's test loop.

    Files that are there already are read instead; the folder is then this
    checkpoint's own (:func:`lock_folder`).

    Args:
        cfg: A config whose ``test_cfg`` has a ``gallery_dataloader``.
        checkpoint: What to load into its model.
        folder: Where ``gallery.npz`` and ``queries.npz`` go.

    Returns:
        The features by 'gallery' and 'queries'.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the config has no gallery, or the folder holds the
            features of another checkpoint or config.
    """
    if 'gallery_dataloader' not in (cfg.get('test_cfg') or {}):
        raise ValueError(
            f'{cfg.filename} has no test_cfg.gallery_dataloader: it takes '
            "test_cfg=dict(type='GalleryTestLoop', gallery_dataloader=...).")
    lock_folder(folder, cfg.filename, checkpoint)
    loaders = dict(
        gallery=cfg.test_cfg.gallery_dataloader, queries=cfg.test_dataloader)
    files = {part: Path(folder) / f'{part}.npz' for part in PARTS}
    for part, path in files.items():
        if not path.exists():
            _embed(cfg, checkpoint, part, loaders[part], path)
    return {part: load_features(path) for part, path in files.items()}


def _embed(cfg: Config, checkpoint: str, part: str, loader: dict,
           path: Path) -> None:
    unused = dict.fromkeys(f'{phase}_{what}' for phase in ('train', 'val')
                           for what in ('cfg', 'dataloader', 'evaluator'))
    settings = dict(
        unused,
        optim_wrapper=None,
        param_scheduler=None,
        auto_scale_lr=None,
        default_hooks=dict(logger=dict(type='LoggerHook', interval=50)),
        launcher=cfg.get('launcher', 'none'),
        work_dir=str(path.parent),
        experiment_name=f'{part}_{path.parent.name}',
        test_dataloader=loader,
        test_cfg=dict(
            type='mmengine.TestLoop', fp16=cfg.test_cfg.get('fp16', False)),
        test_evaluator=dict(type='SaveFeatures', out=str(path)))
    cfg = copy.deepcopy(cfg)
    for key, value in settings.items():
        cfg[key] = value
    use_checkpoint(cfg, checkpoint)
    cfg.model.pop('predict_attention', None)
    build_runner(cfg, testing=True).test()


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
