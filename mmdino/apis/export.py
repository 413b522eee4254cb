"""A teacher's backbone as a graph that runs without mmdino.

B images, D features, h x w patches, H x W stored position embeddings.
"""
from typing import Callable, Iterable, Iterator, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mmdino.models import VisionTransformer
from mmdino.models.embedding import embed
from mmdino.registry import MODELS
from mmdino.utils.resources import require
from mmdino.weights.infer import backbone_cfg
from mmdino.weights.keys import StateDict

Size = Tuple[int, int]
Network = Callable[[Tensor], Tensor]  # images to features
LIMIT = 1e-4  # of the difference of features, graph and network
MAX_BATCH, MAX_STEPS = 4096, 512  # bounds of what a dynamic graph takes


def feature_network(backbone: StateDict,
                    num_heads: Optional[int] = None) -> nn.Module:
    """Build the network that these tensors fill.

    Args:
        backbone: Tensors with our names.
        num_heads: Attention heads of a ViT, by default D / 64.

    Returns:
        nn.Module: Normalised images (B, C, H, W) to features (B, D).
    """
    cfg = backbone_cfg(backbone, num_heads)
    network = nn.ModuleDict(dict(backbone=MODELS.build(cfg)))
    network['backbone'].load_state_dict(backbone)
    if cfg['type'] == 'mmpretrain.ResNet':
        network['neck'] = MODELS.build(
            dict(type='mmpretrain.GlobalAveragePooling'))
    if isinstance(network['backbone'], VisionTransformer):
        module = ViTFeatures(network['backbone'])
    else:
        module = FeatureNetwork(network)
    module.requires_grad_(False).eval()
    return module


def image_step(cfg: dict) -> int:
    """Pixels of which the sides of an image are multiples: the patch.

    Args:
        cfg: Config of the backbone. A ResNet's last map has a 32nd of them.
    """
    if cfg['type'] == 'mmdino.TimmBackbone':
        return int(cfg['model_name'].split('_p')[1].split('_')[0])
    return cfg.get('patch_size', 32)


def export_program(module: nn.Module,
                   step: int,
                   batch: Optional[int] = None,
                   size: Optional[Size] = None) -> ExportedProgram:
    """Trace the network.

    Args:
        module: Images (B, 3, H, W) to features.
        step: A dynamic graph takes images of multiples of so many pixels, 2
            at least.
        batch: B of the graph; by default it takes any.
        size: (H, W) of the graph, in pixels; by default it takes any.
    """
    dims = {}
    if batch is None:
        dims[0] = Dim('batch', min=1, max=MAX_BATCH)
    if size is None:
        dims[2] = step * Dim('rows', min=2, max=MAX_STEPS)
        dims[3] = step * Dim('columns', min=2, max=MAX_STEPS)
    # A dimension that is 1 in the example would stay 1.
    height, width = size or (3 * step, 4 * step)
    images = torch.randn(batch or 2, 3, height, width)
    return torch.export.export(module, (images, ), dynamic_shapes=(dims, ))


def save_program(program: ExportedProgram, path: str) -> None:
    """Write a .pt2 file, for ``torch.export.load``."""
    torch.export.save(program, path)


def save_onnx(program: ExportedProgram, path: str) -> None:
    """Write an ONNX file with the input ``images`` and output ``features``."""
    require('The format onnx', 'onnx', 'onnxscript', 'onnxruntime')
    onnx = torch.onnx.export(
        program,
        dynamo=True,
        input_names=['images'],
        output_names=['features'],
        verbose=False)
    onnx.save(path)


def load_program(path: str) -> Network:
    """Load what :func:`save_program` wrote."""
    return torch.export.load(path).module()


def load_onnx(path: str) -> Network:
    """Load a graph into onnxruntime."""
    import onnxruntime
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Tensor:
        out, = session.run(None, dict(images=images.numpy()))
        return torch.from_numpy(out)

    return run


def check(module: nn.Module, graph: Network,
          images: Iterable[Tensor]) -> Iterator[Tuple[Tuple[int, ...], float]]:
    """Compare a graph with the network it was made of.

    Yields:
        tuple: Shape of the images, largest difference of their features.

    Raises:
        RuntimeError: If it is above ``LIMIT``.
    """
    for batch in images:
        difference = float((module(batch) - graph(batch)).abs().max())
        yield tuple(batch.shape), difference
        if not difference <= LIMIT:
            raise RuntimeError(
                f'The exported graph is {difference:.1e} off for images '
                f'{tuple(batch.shape)}; {LIMIT} is allowed.')


def sample_images(step: int,
                  stored: Size,
                  batch: Optional[int] = None,
                  size: Optional[Size] = None) -> Iterator[Tensor]:
    """Random images of shapes that the graph takes."""
    height, width = stored
    sizes = [size] if size else [
        stored, (2 * step, 3 * step), (height + step, width + 2 * step)
    ]
    for shape in sizes:
        for number in [batch] if batch else [1, 3]:
            yield torch.randn(number, 3, *shape)


class FeatureNetwork(nn.Module):
    """Images (B, C, H, W), normalised, to features (B, D)."""

    def __init__(self, network: nn.ModuleDict) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return embed(self.network, images)


class ViTFeatures(nn.Module):
    """A VisionTransformer whose grid may be unknown when it is exported.

    ``interpolate`` wants its scale as a number. Bicubic interpolation is
    linear, so that it is written as two matrices here, which are computed in
    the graph.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into class tokens (B, D)."""
        x, grid = self.vit.patch_embed(images)
        x = torch.cat([self.vit.cls_token.expand(x.shape[0], -1, -1), x],
                      dim=1)
        x = x + self._pos_embed(*grid)
        for layer in self.vit.layers:
            x = layer(x)
        return self.vit.ln1(x)[:, 0]

    def _pos_embed(self, h: int, w: int) -> Tensor:
        """Shape (1, 1 + h w, D), as :func:`.resize_pos_embed` gives."""
        old_h, old_w = self.vit.patch_resolution
        stored = self.vit.pos_embed[0, 1:].unflatten(0, (old_h, old_w))
        rows, columns = torch.arange(h), torch.arange(w)
        new_h, new_w = rows.new_ones(h).sum(), rows.new_ones(w).sum()
        unchanged = (new_h == old_h) & (new_w == old_w)
        vertical = _bicubic(rows, new_h, old_h, unchanged)
        horizontal = _bicubic(columns, new_w, old_w, unchanged)
        patches = torch.einsum('hH,HWd,wW->hwd', vertical, stored, horizontal)
        return torch.cat(
            [self.vit.pos_embed[:, :1],
             patches.flatten(0, 1)[None]], dim=1)


# A grid of the stored size is left alone, and that is known in the graph only.
def _bicubic(rows: Tensor, new: Tensor, old: int, unchanged: Tensor) -> Tensor:
    """Matrix (new, old) of a bicubic interpolation with offset 0.1.

    Args:
        rows: 0, ..., new - 1.
        new: Their number, shape ().
        old: Number of stored positions.
        unchanged: Whether nothing is to be resized, shape ().
    """
    columns = torch.arange(old)
    place = (rows + .5) * old / (new + .1) - .5
    first = place.floor()
    matrix = torch.zeros(1, 1)
    for tap in range(-1, 3):
        index = (first + tap).clamp(0, old - 1)
        weight = _cubic((place - first - tap).abs())
        matrix = matrix + weight[:, None] * (index[:, None] == columns)
    return torch.where(unchanged, (rows[:, None] == columns).float(), matrix)


def _cubic(distance: Tensor, a: float = -.75) -> Tensor:
    """Keys' kernel with torch's constant."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, far)
