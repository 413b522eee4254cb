"""A DINOv2 as small as tests.tiny's DINO."""
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import MODELS
from torch import nn

HEAD = dict(
    type='mmdino.DINOHead',
    out_dim=48,
    hidden_channels=32,
    bottleneck_channels=16,
    norm_last_layer=False)
V2 = dict(
    type='mmdino.DINOv2',
    backbone__with_mask_token=True,
    backbone__num_registers=1,
    backbone__layer_scale_init_value=.1,
    head__norm_last_layer=False,
    patch_head=HEAD,
    masking=dict(type='mmdino.BlockMasking'),
    patch_centering=dict(type='mmdino.MeanCentering'),
    patch_loss=dict(type='mmdino.IBOTLoss'),
    koleo=dict(type='mmdino.KoLeoLoss'))


@MODELS.register_module(force=True)
class MasksOfImages(nn.Module):
    """The same masks for an image in whatever batch of tests.tiny it comes,
    on whatever rank, where nothing is shuffled. ``only_even`` leaves images
    of odd numbers whole: of two ranks the second then has no mask."""

    def __init__(self, only_even=True):
        super().__init__()
        self.only_even = only_even
        self.calls = 0

    def forward(self, num_images, grid):
        images = num_images // 2
        first = self.calls * images * get_world_size() + get_rank()
        self.calls += 1
        return torch.stack([
            self.mask_of(view, first + image * get_world_size(), grid)
            for view in range(2) for image in range(images)
        ])

    def mask_of(self, view, image, grid):
        generator = torch.Generator().manual_seed(97 * view + image)
        share = torch.rand((), generator=generator) * .6
        mask = torch.rand(grid[0] * grid[1], generator=generator) < share
        return mask & (not self.only_even or image % 2 == 0)


def as_dinov2(cfg):
    """The optimisation of DINOv2 in the place of DINO's."""
    cfg.optim_wrapper.update(
        type='PerNetworkClipOptimWrapper',
        constructor='LayerDecayConstructor',
        paramwise_cfg=dict(
            layer_decay_rate=.9,
            patch_embed_lr_mult=.2,
            bias_decay_mult=0.,
            flat_decay_mult=0.))
    cfg.default_hooks.centering.update(
        teacher_temp=.07, warmup_epochs=1.5, by_epoch=False)
    cfg.default_hooks.freeze_last_layer.update(by_rate=True)
    return cfg
