"""How good are the weights that a training starts from?"""
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmdino.registry import HOOKS


@HOOKS.register_module()
class ValidateFirstHook(Hook):
    """Validate before the first iteration too, and say what training gave.

    For trainings that start from loaded weights. One that is resumed was
    validated when it started.
    """

    def before_train(self, runner: Runner) -> None:
        """Validate the loaded weights."""
        if runner.iter == 0 and runner.val_loop is not None:
            runner.logger.info('Validating the weights as they were loaded')
            runner.val_loop.run()

    def after_train(self, runner: Runner) -> None:
        """Print each metric at the start and at the end."""
        logger = MMLogger.get_current_instance()
        for name, scalars in runner.message_hub.log_scalars.items():
            values = scalars.data[0]
            if name.startswith('val/') and len(values) > 1:
                logger.info(f'{name[4:]}: {values[0]:.2f} before, '
                            f'{values[-1]:.2f} after')
