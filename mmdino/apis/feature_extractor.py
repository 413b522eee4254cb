"""Features and attention of images in a few lines of Python."""
import logging
import os
import os.path as osp
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dataset import default_collate
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from PIL import Image
from torch import Tensor

from mmdino.apis.saved_features import SavedFeatures, save_features
from mmdino.datasets.listing import list_folder
from mmdino.datasets.transforms import UnreadableImageError, build_steps
from mmdino.engine.testing import given_network
from mmdino.functional.finite import require_finite
from mmdino.models import FrozenTeacher
from mmdino.pictures.attention import draw_attention
from mmdino.utils.device import pick_device
from mmdino.utils.progress import track
from mmdino.utils.resources import find_config
from mmdino.weights import downloads_allowed, list_models
from mmdino.weights.io import ENDINGS

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray
Images: TypeAlias = ImageLike | Sequence[ImageLike]


def get_model(name: str | Path | None = None,
              checkpoint: str | Path | None = None,
              device: str | None = None,
              num_heads: int | None = None,
              download: bool = False) -> FrozenTeacher:
    """Build a frozen teacher and load its weights.

    Args:
        name: A checkpoint: a file of any known format, or a name of the kinds
            that :mod:`mmdino.weights.sources` describes. Together with
            ``checkpoint``, the config of the network: a file or the name of a
            packaged config.
        checkpoint: The checkpoint, if ``name`` is a config or None.
        device: 'cpu', 'cuda', 'cuda:1', ...; by default the GPU if there is
            one.
        num_heads: Number of attention heads, for ViTs of other libraries
            whose file does not store it; otherwise it must be that number.
        download: Whether to download a checkpoint that is given by name and
            not yet in the cache.

    Returns:
        The model in evaluation mode, on the device.

    Raises:
        FileNotFoundError: If there is no such file; says where to get it.
        ValueError: If neither is given, a config is given without a
            checkpoint, or there is no such device.
        CheckpointError: If the weights do not fit the network.
    """
    name, checkpoint = (
        value if value is None else osp.expanduser(os.fspath(value))
        for value in (name, checkpoint))
    published = {model.name: model for model in list_models()}.get(name or '')
    config = published.config if published else name
    if checkpoint is None:
        if name is None:
            raise ValueError(
                'get_model needs a checkpoint or the name of a published '
                f'model: {[m.name for m in list_models()]}')
        if not published and _is_config(name):
            raise ValueError(
                f'{name!r} is a config: give the checkpoint as well. '
                f'Published models are {[m.name for m in list_models()]}.')
        checkpoint = name
        if not published or published.packaged:
            config = None  # the file holds the config of its network
    given = given_network(config)
    with downloads_allowed() if download else nullcontext():
        model = FrozenTeacher(checkpoint, num_heads=num_heads, **given)
    return model.to(pick_device(device))


def _is_config(name: str) -> bool:
    """Return whether a name is that of a config and not of a checkpoint.

    Raises:
        FileNotFoundError: If it ends in '.py' and there is no such config.
    """
    if name.endswith('.py'):
        return bool(find_config(name))
    if ':' in name or osp.exists(name) or name.endswith(ENDINGS):
        return False
    try:
        return bool(find_config(name))
    except FileNotFoundError:  # loading says what checkpoints there are
        return False


class Extracted(NamedTuple):
    """Features of N images, with the names and indices of the images."""
    features: Tensor | list[Tensor]  # (N, D) or N tensors, float32, CPU
    indices: Tensor  # (N,) int64, positions in the given list, ascending
    names: list[str]  # N paths; such as 'image 3' for images without one
    left_out: list[str]  # names of unreadable images, with the cause


class FeatureExtractor:
    """Compute the teacher's features of images, or of their patches.

    The checkpoint stores the image size and the normalisation of the
    training, which are used here (DINOv2's and DINOv3's networks take 224 px,
    as in their authors' evaluation). For features, images are resized and
    centre-cropped to a square of that side. For patches and tokens, the whole
    image is resized, its short side to that size. Paths, Pillow images and
    arrays (H, W) or (H, W, 3) of the same pixels give the same features. The
    alpha channel of a file or Pillow image is dropped for a network of three
    channels, which cannot read an array (H, W, 4). Photos are rotated as
    their EXIF tag says. Images that cannot be read are left out with a
    warning.

    Args:
        model: A model, or the ``name`` of :func:`get_model`.
        checkpoint: As in :func:`get_model`.
        device: As in :func:`get_model`. A given model stays on its device.
        batch_size: Number of images in a batch.
        load: Arguments of :class:`.LoadImage`, such as ``value_range``, if
            the training set any. By default ``color_type`` is 'color' for a
            network of three channels, 'grayscale' for one channel and
            'unchanged' for any other number.
        download: As in :func:`get_model`.
        what: What to compute for each image: 'features', (D,); 'patches',
            (h, w, D) for its h x w patches; or 'tokens', (1 + R + h w, D),
            the class token, R registers and the patches. Patches and tokens
            are taken after the final norm.
        size: Side of the square, or short side, in pixels; by default the
            size that the checkpoint stores.

    Raises:
        ValueError: If ``what`` is none of the three, ``batch_size`` or
            ``size`` is below 1, or the network has no patches and ``what`` is
            not 'features'; as in :func:`get_model`.

    Example:
        >>> extract = FeatureExtractor('dino_vit-s16')
        >>> extract(['a.jpg', 'b.jpg']).shape
        torch.Size([2, 384])
        >>> FeatureExtractor('dino_vit-s16', what='patches')('a.jpg')[0].shape
        torch.Size([14, 18, 384])
    """

    def __init__(self,
                 model: str | Path | FrozenTeacher | None,
                 checkpoint: str | Path | None = None,
                 device: str | None = None,
                 batch_size: int = 32,
                 load: dict | None = None,
                 download: bool = False,
                 what: str = 'features',
                 size: int | None = None) -> None:
        if what not in ('features', 'patches', 'tokens'):
            raise ValueError("what must be 'features', 'patches' or 'tokens', "
                             f'got {what!r}')
        if batch_size < 1 or size is not None and size < 1:
            raise ValueError('batch_size and size must be at least 1, got '
                             f'{batch_size} and {size}')
        if not isinstance(model, FrozenTeacher):
            model = get_model(model, checkpoint, device, download=download)
        if what != 'features':
            model.require_patches()
        self.model = model
        self.what = what
        self.batch_size = batch_size
        self.load = build_steps({
            'type': 'mmdino.LoadImage',
            'color_type': model.color_type,
            **(load or {})
        })
        size = model.preprocessing['size'] if size is None else size
        view = dict(
            type='mmdino.CenterView',
            size=size) if what == 'features' else (dict(
                type='mmdino.WholeView',
                size=size,
                patch=model.backbone.patch_size))
        self.rest = build_steps([view, dict(type='mmpretrain.PackInputs')])

    def __call__(self, images: Images) -> Tensor | list[Tensor]:
        """Compute features (N, D), or N tensors of patches or tokens.

        They are float32 tensors on the CPU. The log shows the progress.

        Args:
            images: Images, in any form that :func:`list_images` takes. The
                features come in the order of its list.

        Raises:
            UnreadableImageError: If no image can be read.
            ValueError: If a feature is not finite.
        """
        return self.extract(images).features

    def extract(self, images: Images) -> Extracted:
        """Compute features, and tell which images could not be read.

        Takes and raises the same as :meth:`__call__`, which returns the
        features alone.
        """
        samples, left_out = self._predict(list_images(images))
        features = [s.feature.float().cpu() for s in samples]
        return Extracted(
            torch.stack(features) if self.what == 'features' else features,
            torch.tensor([s.sample_idx for s in samples]),
            [s.img_path for s in samples], left_out)

    def save(self,
             images: Images,
             folder: str | Path,
             dtype: torch.dtype = torch.float16) -> SavedFeatures:
        """Write features while they are computed, for more than fit in memory.

        Args:
            images: Images, in any form that :func:`list_images` takes.
            folder: A new or empty folder.
            dtype: Type of the written numbers.

        Returns:
            A sequence that reads one image's features at each access.

        Raises:
            FileExistsError: If the folder is not empty.
            UnreadableImageError: If no image can be read.
        """
        listed = list_images(images)
        causes: list[UnreadableImageError] = []
        save_features(self._samples(listed, causes), folder, dtype)
        self._tell(causes, listed)
        return SavedFeatures(folder)

    def predict(self, images: Sequence[ImageLike]) -> list[DataSample]:
        """Compute what the model predicts, for each image that can be read.

        Args:
            images: A list of images, see :func:`list_images`.

        Returns:
            Samples with the model's predictions, ``sample_idx`` (position of
            the image in the list) and ``img_path``.

        Raises:
            UnreadableImageError: If no image can be read.
        """
        return self._predict(images)[0]

    def prepare(self, images: Sequence[ImageLike]) -> dict:
        """Make a batch for the model's ``test_step``.

        Args:
            images: A list of images, see :func:`list_images`. Unreadable ones
                are left out; with ``what`` other than 'features', all must
                give inputs of one size.

        Returns:
            A dict of ``inputs`` (B, C, H, W) and ``data_samples``.

        Raises:
            UnreadableImageError: If no image can be read.
        """
        items, causes = self._read_all(images)
        if not items:
            raise causes[0]
        return default_collate(items)

    def _predict(
            self,
            images: Sequence[ImageLike]) -> tuple[list[DataSample], list[str]]:
        """Return the samples, and the names and causes of failed images."""
        causes: list[UnreadableImageError] = []
        samples = list(self._samples(images, causes))
        self._tell(causes, images)
        return samples, [str(cause) for cause in causes]

    def _samples(self, images: Sequence[ImageLike],
                 causes: list[UnreadableImageError]) -> Iterator[DataSample]:
        """Yield samples with ``feature``; append failures to ``causes``."""
        starts = range(0, len(images), self.batch_size)
        for start in track(starts, 'images') if len(starts) > 1 else starts:
            items, failed = self._read_all(
                images[start:start + self.batch_size], start)
            causes += failed
            for _, same_size in groupby(items, lambda i: i['inputs'].shape):
                yield from self._finite(default_collate([*same_size]))
        if len(causes) == len(images):
            raise causes[0]

    def _finite(self, batch: dict) -> list[DataSample]:
        """Do what :meth:`_run` does; raise an error for features like NaN."""
        samples = self._run(batch)
        features = torch.stack([sample.feature for sample in samples])
        require_finite(features, 'features of a batch')
        return samples

    @torch.no_grad()
    def _run(self, batch: dict) -> list[DataSample]:
        """Set ``feature`` in the samples of a batch of one image size."""
        if self.what == 'features':
            return self.model.test_step(batch)
        data = self.model.data_preprocessor(batch)
        function = dict(
            patches=self.model.patches,
            tokens=self.model.backbone.tokens)[self.what]
        for sample, value in zip(data['data_samples'],
                                 function(data['inputs'])):
            sample.set_field(value, 'feature')
        return data['data_samples']

    def _tell(self, causes: Sequence[UnreadableImageError],
              images: Sequence[ImageLike]) -> None:
        """Warn about images that are left out."""
        if not causes:
            return
        shown = '\n'.join(str(cause) for cause in causes[:20])
        print_log(
            f'{len(causes)} of {len(images)} images could not be read and are '
            f'left out. The first are (extract() returns all):\n{shown}',
            logger='current',
            level=logging.WARNING)

    def _read_all(
            self,
            images: Sequence[ImageLike],
            start: int = 0) -> tuple[list[dict], list[UnreadableImageError]]:
        """Return the loaded images, and the errors of unreadable ones."""
        items, causes = [], []
        for index, image in enumerate(images, start):
            try:
                loaded = self.load(_as_results(image, index))
            except UnreadableImageError as error:
                causes.append(error)
                continue
            items.append(self.rest(loaded))
        return items, causes


def _as_results(image: ImageLike, index: int) -> dict:
    """Return the input of :class:`.LoadImage` for an image."""
    if isinstance(image, (str, Path)):
        return dict(sample_idx=index, img_path=str(image))
    name = getattr(image, 'filename', '') or f'image {index}'
    return dict(sample_idx=index, img_path=str(name), image=image)


class AttentionVisualizer(FeatureExtractor):
    """Compute and draw the class token's attention in the last block.

    The arguments are those of :class:`FeatureExtractor`, but ``what`` can only
    be 'features': images are resized and cropped as for these.

    Raises:
        ValueError: If the model is not a VisionTransformer, or ``what`` is not
            'features'.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.what != 'features':
            raise ValueError(
                f'AttentionVisualizer takes no what={self.what!r}: leave it '
                'out, or use FeatureExtractor for patches and tokens.')
        self.model.require_attention()
        self.model.predict_attention = True

    def __call__(self, images: Images) -> list[Tensor]:
        """Compute the attention (H, h, w) of each image.

        H is the number of heads and h x w the patches of the resized image.

        Args:
            images: Images, in any form that :func:`list_images` takes.

        Raises:
            UnreadableImageError: If no image can be read.
        """
        samples = self.predict(list_images(images))
        return [sample.attention.cpu() for sample in samples]

    def draw(self, images: Images, out: str | None = None) -> Figure:
        """Draw one row of attention maps for each image.

        Args:
            images: Images, in any form that :func:`list_images` takes.
            out: File to save the figure to; by default it is not saved.

        Raises:
            ValueError: If the images have neither one nor three channels.
            UnreadableImageError: If no image can be read.
        """
        listed = list_images(images)
        inputs = self.prepare(listed)['inputs']
        if inputs.shape[1] not in (1, 3):
            raise ValueError(f'Images of {inputs.shape[1]} channels cannot be '
                             'drawn: only those of one or three channels.')
        inputs = inputs.expand(-1, 3, -1, -1)
        pictures: list[np.ndarray] = [
            bgr.flip(0).permute(1, 2, 0).numpy() for bgr in inputs
        ]
        return draw_attention(pictures, self(listed), out=out)


def list_images(images: Images) -> list[ImageLike]:
    """Turn one image, several, or a folder into a list.

    Args:
        images: One of these, or a list of them: the path or URL of an image;
            a folder, which stands for all images in it and its subfolders,
            sorted by name; a Pillow image; an array (H, W) or (H, W, C),
            whose channels, if they are three, are RGB.

    Raises:
        FileNotFoundError: If a path does not exist.
        TypeError: If an item is none of these.
        ValueError: If there is no image, or an array has another shape.
    """
    one = isinstance(images, (str, bytes, np.ndarray, Tensor))
    if one or not isinstance(images, Iterable):
        images = [images]
    listed = [image for item in images for image in _expand(item)]
    if not listed:
        raise ValueError(f'There is no image in {images}.')
    return listed


def _expand(image: ImageLike) -> list[ImageLike]:
    if isinstance(image, Image.Image):
        return [image]
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or not image.size:
            raise ValueError(
                'An image array must be (H, W) or (H, W, C), with three '
                f'channels in RGB, got {image.shape} {image.dtype}. Give '
                'several images as a list.')
        return [image]
    if not isinstance(image, (str, Path)):
        remedy = (' Of a tensor (3, H, W) give image.permute(1, 2, 0).numpy().'
                  if isinstance(image, Tensor) else '')
        raise TypeError('An image is a path, a URL, a PIL image or an array, '
                        f'got {type(image).__name__}.{remedy}')
    path = str(image)
    if osp.isdir(path):
        return [osp.join(path, name) for name in list_folder(path)]
    if '://' not in path and not osp.isfile(path):
        raise FileNotFoundError(f'There is no image {path!r}.')
    return [path]
