"""What a transfer config trains, as recorded in tests/data/transfer.json.

The file has a line for each of the 94 combinations of head, network and data
that were configs of their own once.
"""
from mmengine.config import Config

SIZES = ('RandomCrop', 'mmpretrain.RandomResizedCrop')


def settings(cfg: Config) -> dict:
    """Model, optimizer, schedule and data, in lists and dicts alone.

    Of a detector the backbone and the neck; the rest is mmdet's.
    """
    model = cfg.model
    if 'bbox_head' in model or 'roi_head' in model:
        model = dict(backbone=model.backbone, neck=model.neck)
    loop = cfg.train_cfg
    length = loop.get('max_iters') or loop.max_epochs
    # What MMEngine's Runner adds to a schedule without an end.
    schedule = [
        dict(dict(begin=0, end=length), **step) for step in cfg.param_scheduler
    ]
    scale = cfg.get('auto_scale_lr') or {}
    loader = cfg.train_dataloader
    data = loader.dataset.get('dataset', loader.dataset)
    return plain(
        dict(
            model=model,
            optim_wrapper=cfg.optim_wrapper,
            schedule=schedule,
            length=length,
            base_batch_size=(scale.get('base_batch_size')
                             if scale.get('enable') else None),
            data=data.type,
            crops=[
                step.get('crop_size', step.get('scale'))
                for step in data.pipeline if step['type'] in SIZES
            ]))


def plain(node):
    """A config in lists and dicts, without scopes and what is None."""
    if isinstance(node, dict):
        return {
            k: plain(v)
            for k, v in sorted(node.items())
            if k != '_scope_' and v is not None
        }
    if isinstance(node, (list, tuple)):
        return [plain(child) for child in node]
    return node
