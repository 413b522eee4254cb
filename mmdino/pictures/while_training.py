"""Figures that a training sends to the visualizer."""
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.datasets.decoding import to_levels
from mmdino.datasets.transforms import LoadImage
from mmdino.datasets.transforms.formatting import WholeView, to_planes
from mmdino.engine.hooks.access import dino_model
from mmdino.models.backbones.attention import require_attention
from mmdino.registry import HOOKS


@HOOKS.register_module()
class AttentionPicturesHook(Hook):
    """Draw the teacher's attention on a few fixed images during training.

    A figure named ``attention`` is sent to MMEngine's visualizer before the
    first epoch and after every ``interval`` epochs. All of its backends get
    it: local files (``vis_data/vis_image/attention_EPOCH.png`` beside the
    log), TensorBoard, Weights & Biases or MLflow. It shows a row for each
    image: the input, a map for each head, and the patches that hold 60 % of
    the attention. The random state of the training is not changed.

    Args:
        pictures: Paths of images, which are read as the validation's are, or
            a number of validation images, which are chosen evenly spread. Of
            other than three channels the first or the first three are shown.
        interval: Number of epochs between two figures.
        size: Length in pixels of the short side to which the images of
            ``pictures`` are resized; by default they keep their size.
            Validation images have the size of the validation.

    Raises:
        ValueError: If there are no pictures or a number is below 1; before
            training, if the backbone gives no attention, or validation images
            are asked for and there is no validation.
    """
    priority = 'VERY_LOW'

    def __init__(self,
                 pictures: int | Sequence[str] = 4,
                 interval: int = 1,
                 size: int | None = None) -> None:
        if not pictures or isinstance(pictures,
                                      int) and pictures < 1 or (interval < 1):
            raise ValueError('AttentionPicturesHook needs at least one '
                             'picture and an interval of at least 1, got '
                             f'pictures={pictures!r} and '
                             f'interval={interval}.')
        self.pictures = [pictures] if isinstance(pictures, str) else pictures
        self.interval = interval
        self.size = size

    def before_train(self, runner: Runner) -> None:
        """Read the images and draw the attention before training."""
        backbone = dino_model(runner).teacher.backbone
        try:
            require_attention(backbone)
        except ValueError as error:
            raise ValueError(f'AttentionPicturesHook: {error} Or remove the '
                             'hook.') from error
        self.images = self._read(runner, backbone)
        self._show(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw the attention every ``interval`` epochs."""
        if self.every_n_epochs(runner, self.interval):
            self._show(runner, runner.epoch + 1)

    def _read(self, runner: Runner, backbone: torch.nn.Module) -> list[Tensor]:
        """Read the images (C, H, W) in the order of LoadImage."""
        if isinstance(self.pictures, int):
            if runner.val_loop is None:
                raise ValueError(
                    'AttentionPicturesHook draws validation images, but the '
                    'run has no validation: give paths, such as '
                    "pictures=['a.jpg', 'b.jpg'].")
            dataset = runner.val_loop.dataloader.dataset
            count = min(self.pictures, len(dataset))
            return [
                torch.as_tensor(dataset[i * len(dataset) // count]['inputs'])
                for i in range(count)
            ]
        load = _loader(runner)
        view = WholeView(self.size, backbone.patch_size)
        return [
            to_planes(view(load(dict(img_path=str(path))))['img'])
            for path in self.pictures
        ]

    @torch.no_grad()
    def _show(self, runner: Runner, epoch: int | None = None) -> None:
        from mmdino.pictures.attention import draw_attention
        model = dino_model(runner)
        is_training = model.teacher.training
        model.teacher.eval()
        attentions = [self._attend(model, image) for image in self.images]
        model.teacher.train(is_training)
        if not is_main_process():
            return
        figure = draw_attention([_as_rgb(image) for image in self.images],
                                attentions)
        runner.visualizer.add_image('attention', as_array(figure),
                                    runner.epoch if epoch is None else epoch)

    @staticmethod
    def _attend(model: torch.nn.Module, image: Tensor) -> Tensor:
        """Compute the attention (heads, h, w) of an image, on the CPU."""
        data = model.data_preprocessor(
            dict(inputs=image[None], data_samples=[]))
        attention = model.teacher.backbone.class_attention(data['inputs'])
        return attention[0].float().cpu()


def _loader(runner: Runner) -> LoadImage:
    """Return the LoadImage of the validation, or one for the channels."""
    if runner.val_loop is not None:
        pipeline = getattr(runner.val_loop.dataloader.dataset, 'pipeline',
                           None)
        for step in getattr(pipeline, 'transforms', ()):
            if isinstance(step, LoadImage):
                return step
    mean = getattr(dino_model(runner).data_preprocessor, 'mean', None)
    channels = 3 if mean is None else len(mean)
    return LoadImage({1: 'grayscale', 3: 'color'}.get(channels, 'unchanged'))


def _as_rgb(image: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in the order of LoadImage as (H, W, 3), uint8.

    It shows the first three channels, in the order of the file, or the first
    one of fewer.
    """
    planes = image.numpy()
    if len(planes) == 3:
        planes = planes[::-1]  # LoadImage gives BGR
    elif len(planes) < 3:
        planes = planes[:1].repeat(3, axis=0)
    return to_levels(planes[:3].transpose(1, 2, 0), 'file')


def as_array(figure) -> np.ndarray:
    """Render a figure of matplotlib as pixels (H, W, 3), uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
