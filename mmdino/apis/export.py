"""Export of a trained network to a file that runs without mmdino.

B images, C channels, D features, h x w patches, H x W stored position
embeddings.
"""
import copy
import os.path as osp
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mmdino.apis.compare import relative
from mmdino.models import FrozenTeacher, TimmBackbone, VisionTransformer
from mmdino.models.embedding import embed
from mmdino.utils.resources import require
from mmdino.weights.config import from_metadata, to_metadata
from mmdino.weights.infer import input_channels
from mmdino.weights.io import replaced, save_checkpoint
from mmdino.weights.sources import find_checkpoint

Size = tuple[int, int]
LIMIT = 1e-4  # largest allowed Checked.largest
ONNX_PACKAGES = 'onnx', 'onnxscript', 'onnxruntime'
# Largest batch, and largest image side in steps (see image_step), of a graph
# with dynamic sizes.
MAX_BATCH, MAX_STEPS = 4096, 512
# For each way to resize position embeddings (pos_embed_mode): the offset that
# is added to the new size, and the constant a of torch's bicubic kernel.
RESIZING = {
    'offset': (.1, -.75),
    'size': (0., -.75),
    'antialias': (0., -.5),
    'offset-antialias': (.1, -.5)
}


class Graph(NamedTuple):
    """An exported file, loaded again."""
    run: Callable[[Tensor], Tensor]  # normalised images to features (B, D)
    network: dict | None  # the network's config, see mmdino.weights.config


class Checked(NamedTuple):
    """The difference of an exported file from the network."""
    shape: tuple[int, ...]  # (B, C, H, W) of the images
    largest: float  # largest difference / largest absolute feature


@torch.no_grad()
def export(teacher: FrozenTeacher,
           out: str,
           format_: str,
           batch: int | None = None,
           size: Size | None = None,
           half: bool = False,
           device: str | torch.device = 'cpu') -> Iterator[Checked]:
    """Export a network, load the file again and compare; delete it on failure.

    Args:
        teacher: The network.
        out: Path of the file.
        format_: A key of ``FORMATS``.
        batch: Fixed number of images B of the graph and of the comparison; by
            default the graph takes any number.
        size: Fixed (H, W) of the images in pixels; by default the graph takes
            any size.
        half: Write the weights in float16, which halves the file. The file is
            then compared with a network of equally rounded weights.
        device: Device of the network that the file is compared with. The file
            itself is written for the CPU and runs there.

    Yields:
        The difference for random images, one for each shape.

    Raises:
        RuntimeError: If the features of the file differ by more than
            ``LIMIT``, or the file does not hold the network's config.
        ValueError: If the network cannot be traced for any size, or for the
            given one; if ``half`` is used with a graph format, or a weight is
            too large for float16.
    """
    if half:
        if format_ != 'safetensors':
            raise ValueError(f'The format {format_} is written in float32 '
                             'only: leave half precision out, or choose the '
                             'format safetensors.')
        teacher = round_to_half(teacher)
    _, save, load = FORMATS[format_]
    network = teacher.network_cfg
    exported = teacher if format_ == 'safetensors' else trace(
        teacher, batch, size)
    shapes = list(sample_shapes(teacher, batch, size))
    with replaced(out) as temporary:
        save(exported, network, temporary, *([torch.float16] if half else []))
        graph = load(temporary)
        if graph.network != network:
            raise RuntimeError(
                f'{out} does not return the config of its network when it is '
                'loaded again. Nothing was written.')
        teacher = teacher.to(device)
        for shape in shapes:
            images = torch.randn(shape)
            features = teacher.features(images.to(device)).cpu()
            largest = relative(features, graph.run(images))
            yield Checked(shape, largest)
            if not largest <= LIMIT:
                raise RuntimeError(
                    f'The features of the exported file differ by '
                    f'{largest:.1e} from those of the network for images of '
                    f'the shape {shape}; at most {LIMIT} is allowed. Nothing '
                    'was written.')


def image_step(backbone: nn.Module, stored: int) -> int:
    """Return the number of pixels that image sides must be multiples of.

    This is the patch size or, for a convnet, the stride of its last feature
    map.

    Args:
        backbone: The network.
        stored: Side in pixels of an image that the network takes, for
            networks whose stride has to be found by a forward pass.
    """
    if hasattr(backbone, 'patch_size'):
        return backbone.patch_size
    if isinstance(backbone, TimmBackbone):
        return backbone.model.feature_info[-1]['reduction']
    with torch.no_grad():
        out = backbone(
            torch.zeros(1, input_channels(backbone), stored, stored))
    out = out[-1] if isinstance(out, (tuple, list)) else out
    return max(stored // out.shape[-1], 1) if out.ndim == 4 else 32


def sample_shapes(teacher: FrozenTeacher, batch: int | None,
                  size: Size | None) -> Iterator[tuple[int, ...]]:
    """Yield the shapes (B, C, H, W) of the images to compare with."""
    channels = input_channels(teacher.backbone)
    side = teacher.preprocessing['size']
    step = image_step(teacher.backbone, side)
    side = max(side // step, 1) * step
    sizes = [size] if size else [(side, side), (2 * step, 3 * step),
                                 (side + step, side + 2 * step)]
    for shape in sizes:
        for number in [batch] if batch else [1, 3]:
            yield number, channels, *shape


def save_program(program: ExportedProgram, network: dict, path: str) -> None:
    """Write a .pt2 file, for ``torch.export.load``."""
    torch.export.save(program, path, extra_files=to_metadata(network))


def save_onnx(program: ExportedProgram, network: dict, path: str) -> None:
    """Write an ONNX file with the input ``images`` and the output
    ``features``."""
    require('The format onnx', *ONNX_PACKAGES)
    onnx = torch.onnx.export(
        program,
        dynamo=True,
        input_names=['images'],
        output_names=['features'],
        verbose=False)
    onnx.model.metadata_props.update(to_metadata(network))
    onnx.save(path)


def round_to_half(teacher: FrozenTeacher) -> FrozenTeacher:
    """Return a copy in float32 with weights rounded to float16.

    Raises:
        ValueError: If a weight is too large for float16.
    """
    rounded = copy.deepcopy(teacher).half().float()
    for name, weight in rounded.state_dict().items():
        if not weight.isfinite().all():
            raise ValueError(f'{name} is too large for float16: write it in '
                             'float32.')
    return rounded


def save_weights(teacher: FrozenTeacher,
                 network: dict,
                 path: str,
                 dtype: torch.dtype | None = None) -> None:
    """Write the weights as a checkpoint that all tools read.

    The names are those of the backbone alone, without the prefix
    ``backbone.``, unless there is a neck with weights.
    """
    state = nn.ModuleDict(teacher.parts).state_dict()
    if not any(key.startswith('neck.') for key in state):
        state = teacher.backbone.state_dict()
    if dtype is not None:
        state = {
            key: value.to(dtype) if value.is_floating_point() else value
            for key, value in state.items()
        }
    save_checkpoint(dict(meta=dict(network=network), state_dict=state), path)


def load_program(path: str) -> Graph:
    """Load a .pt2 file."""
    metadata = dict.fromkeys(to_metadata({}), '')
    program = torch.export.load(path, extra_files=metadata)
    return Graph(program.module(), from_metadata(metadata))


def load_onnx(path: str) -> Graph:
    """Load an ONNX file."""
    import onnxruntime
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Tensor:
        try:
            out, = session.run(None, dict(images=images.numpy()))
        # onnxruntime raises one exception type for each kind of failure.
        except Exception as error:
            used = ', '.join(f'{name} {version(name)}'
                             for name in ('torch', *ONNX_PACKAGES))
            raise RuntimeError(
                f'onnxruntime cannot run the graph on images '
                f'{tuple(images.shape)} with {used}. Nothing was written. '
                f'Other versions may work: {error}') from error
        return torch.from_numpy(out)

    metadata = session.get_modelmeta().custom_metadata_map
    return Graph(run, from_metadata(metadata))


def load_weights(path: str) -> Graph:
    """Load a file that :func:`save_weights` wrote."""
    teacher = FrozenTeacher(path)
    return Graph(teacher.features, teacher.network_cfg)


# Extension of the file, function that writes it, function that reads it.
FORMATS: dict[str, tuple[str, Callable, Callable[[str], Graph]]] = {
    'onnx': ('.onnx', save_onnx, load_onnx),
    'torch-export': ('.pt2', save_program, load_program),
    'safetensors': ('.safetensors', save_weights, load_weights)
}


def default_out(checkpoint: str, format_: str, half: bool = False) -> str:
    """Return the checkpoint's path with the extension of a format.

    If it has this extension already, the new file is STEM_half.safetensors,
    or STEM_export.safetensors without ``half``.
    """
    stem, extension = osp.splitext(checkpoint)
    if extension == FORMATS[format_][0]:
        stem += '_half' if half else '_export'
    return stem + FORMATS[format_][0]


def refuse_input(checkpoint: str, out: str) -> None:
    """Raise an error if a file to write is the checkpoint itself.

    Args:
        checkpoint: A file, or another name of :mod:`mmdino.weights.sources`.
        out: Path of the file to write.

    Raises:
        ValueError: If both are one file, under whatever names.
        FileNotFoundError: As in :func:`.find_checkpoint`.
    """
    path = find_checkpoint(checkpoint)
    if osp.exists(out) and osp.samefile(path, out):
        raise ValueError(f'{out} is the checkpoint {checkpoint} itself, which '
                         'would be overwritten: give another file to write.')


def trace(teacher: FrozenTeacher,
          batch: int | None = None,
          size: Size | None = None) -> ExportedProgram:
    """Trace a network from normalised images (B, C, H, W) to features (B, D).

    Args:
        teacher: The network.
        batch: As in :func:`export`.
        size: As in :func:`export`.

    Raises:
        ValueError: If the network cannot be traced; says whether to fix
            ``size`` or ``batch``.
    """
    step = image_step(teacher.backbone, teacher.preprocessing['size'])
    dims = {}
    if batch is None:
        dims[0] = Dim('batch', min=1, max=MAX_BATCH)
    if size is None:
        dims[2] = step * Dim('rows', min=2, max=MAX_STEPS)
        dims[3] = step * Dim('columns', min=2, max=MAX_STEPS)
    # torch.export would fix a dynamic dimension that is 1 in the example.
    height, width = size or (3 * step, 4 * step)
    images = torch.randn(batch or 2, input_channels(teacher.backbone), height,
                         width)
    try:
        return torch.export.export(
            FeatureNetwork(teacher).eval(), (images, ),
            dynamic_shapes=(dims, ))
    # torch and the checks of the network raise errors of many types.
    except Exception as error:
        name = type(teacher.backbone).__name__
        if size is not None and batch is not None:
            raise ValueError(f'{name} cannot be traced for images '
                             f'{tuple(images.shape)}: {error}') from error
        left = ' and '.join(option for option, value in (('--size', size),
                                                         ('--batch', batch))
                            if value is None)
        raise ValueError(
            f'{name} cannot be traced for any size or number of images: fix '
            f'them by {left}, such as --size {teacher.preprocessing["size"]}. '
            f'{str(error).splitlines()[0]}') from error


class FeatureNetwork(nn.Module):
    """A module from normalised images (B, C, H, W) to features (B, D)."""

    def __init__(self, teacher: FrozenTeacher) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(teacher.parts)
        if isinstance(teacher.backbone, VisionTransformer):
            self.parts['backbone'] = AnyGridViT(teacher.backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features (B, D) of normalised images (B, C, H, W)."""
        return embed(self.parts, images)


class AnyGridViT(nn.Module):
    """A VisionTransformer whose grid of patches may be unknown at export.

    ``F.interpolate`` needs the size of the grid as a number, which would fix
    it in the graph. Bicubic interpolation is linear: here it is a product
    with two matrices, one for rows and one for columns, which the graph
    computes from the size of the images.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute what the ViT's forward gives for images (B, C, H, W)."""
        vit = copy.copy(self.vit)  # shares the weights
        setattr(vit, 'embed', self._embed)
        return vit(images)

    def _embed(self, images: Tensor, mask: None) -> tuple[Tensor, Size]:
        """Return tokens (B, 1 + R + h w, D) and the grid (h, w), unmasked."""
        patches, grid = self.vit.patch_embed(images)
        return self.vit.join_tokens(patches, self._pos_embed(*grid)), grid

    def _pos_embed(self, h: int, w: int) -> Tensor:
        """Return embeddings (1, 1 + h w, D), as :func:`.resize_pos_embed`."""
        old_h, old_w = self.vit.patch_resolution
        mode = self.vit.pos_embed_mode
        stored = self.vit.pos_embed[0, 1:].unflatten(0, (old_h, old_w))
        rows, columns = torch.arange(h), torch.arange(w)
        new_h, new_w = rows.new_ones(h).sum(), rows.new_ones(w).sum()
        unchanged = (new_h == old_h) & (new_w == old_w)
        vertical = _bicubic(rows, new_h, old_h, unchanged, mode)
        horizontal = _bicubic(columns, new_w, old_w, unchanged, mode)
        patches = torch.einsum('hH,HWd,wW->hwd', vertical, stored, horizontal)
        return torch.cat(
            [self.vit.pos_embed[:, :1],
             patches.flatten(0, 1)[None]], dim=1)


def _bicubic(rows: Tensor, new: Tensor, old: int, unchanged: Tensor,
             mode: str) -> Tensor:
    """Return the matrix (new, old) of a bicubic interpolation.

    Args:
        rows: The numbers 0 to new - 1.
        new: New number of rows, of shape ().
        old: Stored number of rows.
        unchanged: Whether the whole grid has the stored size, of shape ();
            the matrix is then the identity. Only the graph knows this.
        mode: A key of ``RESIZING``.
    """
    columns = torch.arange(old)
    offset, a = RESIZING[mode]
    scale = old / (new + offset)
    place = (rows + .5) * scale - .5
    if 'antialias' in mode:
        # The kernel is stretched by the scale, cut off at the borders and
        # normalised.
        distance = (columns - place[:, None]).abs() / scale.clamp(min=1)
        matrix = _cubic(distance, a) * (distance < 2)
        matrix = matrix / matrix.sum(1, keepdim=True)
        unchanged = unchanged | (new == old)  # one side alone may stay
    else:
        first = place.floor()
        matrix = torch.zeros(1, 1)
        for tap in range(-1, 3):
            index = (first + tap).clamp(0, old - 1)
            weight = _cubic((place - first - tap).abs(), a)
            matrix = matrix + weight[:, None] * (index[:, None] == columns)
    return torch.where(unchanged, (rows[:, None] == columns).float(), matrix)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Evaluate Keys' cubic kernel with constant ``a`` for distances to 2."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, far)
