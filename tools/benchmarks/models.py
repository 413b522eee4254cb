"""Models of the packaged configs, for the benchmarks."""
import copy

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdino.models import DINO
from mmdino.registry import MODELS
from mmdino.utils.resources import find_config


def build_model(config: str, *changes: dict) -> DINO:
    """Build and initialise the model of a packaged config.

    Args:
        config: Name of the config, such as 'dino_vit-s16'.
        *changes: Settings that override those of ``model``, in this order.
    """
    init_default_scope('mmdino')
    cfg = Config.fromfile(find_config(config))
    for change in changes:
        cfg.merge_from_dict(dict(model=copy.deepcopy(change)))
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
