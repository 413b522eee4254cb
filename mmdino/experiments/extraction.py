"""Features saved once for several evaluations, and a probe on them."""
import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.model import BaseDataPreprocessor

from mmdino.datasets.feature_rows import Features, load_features
from mmdino.engine.launch import build_runner
from mmdino.engine.testing import use_checkpoint
from mmdino.experiments.jobs import check_folder, write_json
from mmdino.experiments.settings import Settings, describe, forget_listings
from mmdino.models.frozen.linear_probe import LinearProbe
from mmdino.registry import MODELS
from mmdino.weights import find_checkpoint

PARTS = ('gallery', 'queries')


def extract_features(cfg: Config, checkpoint: str,
                     folder: str | Path) -> dict[str, Features]:
    """Compute features of the gallery and the queries of a config's test loop.

    Existing files are read instead, if they come from the same settings,
    weights and data, which ``job.json`` in the folder records.

    Args:
        cfg: A config whose ``test_cfg`` has a ``gallery_dataloader``.
        checkpoint: Weights of its model.
        folder: Folder for ``gallery.npz`` and ``queries.npz``.

    Returns:
        The features by 'gallery' and 'queries'.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        MissingData: If the images are not there.
        ValueError: If the config has no gallery, or the folder holds features
            of other settings; names the differences.
    """
    folder, checkpoint = Path(folder), find_checkpoint(checkpoint)
    forget_listings()
    settings = feature_settings(cfg, checkpoint)
    files = {part: folder / f'{part}.npz' for part in PARTS}
    check_folder(folder, settings, '*.npz')
    # All ranks must decide alike, so look before rank 0 writes a file.
    lacking = [part for part in PARTS if not files[part].exists()]
    if is_main_process():
        write_json(folder / 'job.json', settings)
    for part in lacking:
        cfg_part = _testing(cfg, checkpoint, part)
        cfg_part.setdefault('launcher', 'none')
        cfg_part.work_dir = str(folder)
        cfg_part.experiment_name = f'{part}_{folder.name}'
        cfg_part.test_evaluator = dict(
            type='SaveFeatures', out=str(files[part]))
        build_runner(cfg_part, testing=True).test()
    barrier()  # rank 0 writes the files, all ranks read them
    return {part: load_features(path) for part, path in files.items()}


def feature_settings(cfg: Config,
                     checkpoint: str,
                     parts: Sequence[str] = PARTS) -> Settings:
    """Return the settings that the features of each part depend on."""
    return {
        f'{part}, {key}': value
        for part in parts
        for key, value in describe(_testing(cfg, checkpoint, part)).items()
    }


def _testing(cfg: Config, checkpoint: str, part: str) -> Config:
    """Return the config of a test that only computes one part's features."""
    if 'gallery_dataloader' not in (cfg.get('test_cfg') or {}):
        raise ValueError(
            f'{cfg.filename} has no test_cfg.gallery_dataloader: set '
            "test_cfg=dict(type='GalleryTestLoop', gallery_dataloader=...).")
    loaders = dict(
        gallery=cfg.test_cfg.gallery_dataloader, queries=cfg.test_dataloader)
    testing = test_only(cfg, loaders[part])
    use_checkpoint(testing, checkpoint)
    testing.model.pop('predict_attention', None)
    return testing


def test_only(cfg: Config, loader: dict) -> Config:
    """Return the part of a run's config that a test of one loader needs.

    Args:
        cfg: Config of the run.
        loader: Config of the loader to test.
    """
    kept = ('model', 'custom_imports', 'default_scope', 'env_cfg',
            'randomness', 'launcher')
    return Config(
        dict({key: copy.deepcopy(cfg[key])
              for key in kept if key in cfg},
             default_hooks=dict(logger=dict(type='LoggerHook', interval=50)),
             test_dataloader=copy.deepcopy(loader),
             test_cfg=dict(
                 type='mmengine.TestLoop',
                 fp16=(cfg.get('test_cfg') or {}).get('fp16', False))))


@MODELS.register_module()
class SavedFeaturesProbe(LinearProbe):
    """A linear probe on features that were saved before.

    Without augmentation each epoch sees the same features. As in the base
    class, the network is built and saved with the heads, but it is not run.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.data_preprocessor = BaseDataPreprocessor()
        self.network.features = torch.as_tensor
