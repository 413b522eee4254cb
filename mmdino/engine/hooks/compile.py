"""torch.compile for the backbones."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.access import dino_model
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS


def compile_backbones(model: MeanTeacher,
                      dynamic: bool = False,
                      **options) -> None:
    """Compile both backbones in place, one graph for each size of crops.

    Names in checkpoints stay as they are.

    Args:
        model: Changed in place.
        dynamic: One graph for all sizes instead.
        **options: Others of ``torch.compile``.

    Raises:
        ValueError: If blocks are to be computed again for the backward pass
            (``with_cp``) by a backend that draws anew then.
    """
    if options.get('backend') == 'eager' and any(
            getattr(module, 'with_cp', False)
            for module in model.backbone.modules()):
        raise ValueError(
            "backend='eager' of torch.compile draws other random numbers when "
            'blocks are computed again, which makes gradients wrong: set '
            "backend='aot_eager' or leave with_cp of the backbone out.")
    for backbone in (model.backbone, model.teacher.backbone):
        backbone.compile(dynamic=dynamic, **options)


@HOOKS.register_module()
class CompileHook(Hook):
    """Train with compiled backbones; validate and test without compilation.

    The first iterations compile, which takes minutes. MMEngine's setting
    ``compile`` traces the whole training step instead, which torch cannot.

    Args:
        **options: Those of ``torch.compile``, such as ``mode`` or
            ``fullgraph``.
    """

    def __init__(self, **options) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Let the backbones compile at the first pass of each size."""
        compile_backbones(dino_model(runner, MeanTeacher), **self.options)
        runner.logger.info('Both backbones will be compiled: the first '
                           'iterations take minutes.')

    def before_val(self, runner: Runner) -> None:
        """Run the backbones without compilation.

        For other sizes and attention maps.
        """
        torch.compiler.set_stance('force_eager')

    def after_val(self, runner: Runner) -> None:
        """Return to the compiled graphs."""
        torch.compiler.set_stance('default')

    before_test, after_test = before_val, after_val
