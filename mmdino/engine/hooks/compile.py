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

    Parameter names in checkpoints do not change.

    Args:
        model: Changed in place.
        dynamic: Whether to compile one graph for all sizes instead.
        **options: Other arguments of ``torch.compile``.

    Raises:
        ValueError: If activation checkpointing (``with_cp``) is combined with
            the backend 'eager', which draws new random numbers when blocks
            are recomputed.
    """
    if options.get('backend') == 'eager' and any(
            getattr(module, 'with_cp', False)
            for module in model.backbone.modules()):
        raise ValueError(
            "backend='eager' of torch.compile draws new random numbers when "
            'with_cp recomputes blocks, which makes gradients wrong: set '
            "backend='aot_eager', or leave with_cp of the backbone out.")
    for backbone in (model.backbone, model.teacher.backbone):
        backbone.compile(dynamic=dynamic, **options)


@HOOKS.register_module()
class CompileHook(Hook):
    """Train with compiled backbones; validate and test without compilation.

    The compilation takes minutes in the first iterations. MMEngine's own
    setting ``compile`` cannot be used: it compiles the whole training step,
    which torch does not support.

    Args:
        **options: Arguments of ``torch.compile``, such as ``mode`` or
            ``fullgraph``.
    """

    def __init__(self, **options) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Let the backbones compile at the first crops of each size."""
        compile_backbones(dino_model(runner, MeanTeacher), **self.options)
        runner.logger.info('Both backbones will be compiled: the first '
                           'iterations take minutes.')

    def before_val(self, runner: Runner) -> None:
        """Run the backbones without compilation.

        The validation takes other image sizes and attention maps, which would
        be compiled anew.
        """
        torch.compiler.set_stance('force_eager')

    def after_val(self, runner: Runner) -> None:
        """Return to the compiled graphs."""
        torch.compiler.set_stance('default')

    before_test, after_test = before_val, after_val
