"""Extract the features of a gallery and of queries into files."""
import copy
from pathlib import Path
from typing import Dict, Union

from mmengine.config import Config

from mmdino.datasets.feature_rows import Features, load_features
from mmdino.engine.launch import build_runner
from mmdino.experiments.folder import claim

PARTS = ('gallery', 'queries')


def extract_features(cfg: Config, checkpoint: str,
                     folder: Union[str, Path]) -> Dict[str, Features]:
    """Embed the gallery and the queries of a config's test loop.

    Files that are there already are read instead; the folder is then this
    checkpoint's own (:func:`~mmdino.experiments.folder.claim`).

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
    claim(folder, cfg.filename, checkpoint)
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
        load_from=checkpoint,
        work_dir=str(path.parent),
        experiment_name=f'{part}_{path.parent.name}',
        test_dataloader=loader,
        test_cfg=dict(
            type='mmengine.TestLoop', fp16=cfg.test_cfg.get('fp16', False)),
        test_evaluator=dict(type='SaveFeatures', out=str(path)))
    cfg = copy.deepcopy(cfg)
    for key, value in settings.items():
        cfg[key] = value
    cfg.model.pop('predict_attention', None)
    build_runner(cfg).test()
