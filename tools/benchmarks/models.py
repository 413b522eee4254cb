"""DINO as the configs have it."""
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.models import DINO
from mmdino.registry import MODELS
from mmdino.resources import find_config


def build_model(config: str, **changes) -> DINO:
    """Initialised model of a packaged config.

    Args:
        config (str): Its name, such as 'dino_vit-s16'.
        **changes: Settings below ``model`` that override the config's.
    """
    init_default_scope('mmdino')
    cfg = Config.fromfile(find_config(config))
    cfg.merge_from_dict(dict(model=changes))
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
