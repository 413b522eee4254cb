"""mmpretrain's classifier on a backbone that DINO trained."""
from typing import Optional

from mmpretrain.models import ImageClassifier

from mmdino.models.backbones.pretrained import load_pretrained
from mmdino.registry import MODELS


@MODELS.register_module()
class PretrainedClassifier(ImageClassifier):
    """``ImageClassifier`` whose backbone starts from a teacher's, all of it.

    An ``init_cfg`` of the backbone would log what does not fit and train on
    from random weights; this refuses.

    Args:
        backbone (dict): Config of the backbone, as pretrained.
        head (dict): Config of the head, with ``num_classes``.
        data_preprocessor (dict): Config of the preprocessor, without it.
        checkpoint (str, optional): A checkpoint of :class:`DINO`. Training
            needs it, testing does not.
        **kwargs: As mmpretrain's.

    Raises:
        FileNotFoundError: In training, if there is no such file.
        ValueError: In training, if none is given or it does not fit.
    """

    def __init__(self,
                 backbone: dict,
                 head: dict,
                 data_preprocessor: dict,
                 checkpoint: Optional[str] = None,
                 **kwargs) -> None:
        # Mixup needs the number of classes, which the head's config says.
        super().__init__(
            backbone,
            head=head,
            data_preprocessor=dict(
                data_preprocessor, num_classes=head['num_classes']),
            **kwargs)
        self.checkpoint = checkpoint

    def init_weights(self) -> None:
        """Initialise the head, load the backbone."""
        super().init_weights()
        load_pretrained(self.backbone, self.checkpoint, 'teacher.backbone.')
