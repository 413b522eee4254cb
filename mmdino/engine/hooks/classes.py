"""Check that two data sets number the same classes in the same way."""
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdino.registry import HOOKS


def check_classes(what: str, first: Dataset, second: Dataset) -> None:
    """Raise an error if labels of two data sets mean different classes.

    Args:
        what: The two, such as 'queries and gallery'.
        first: A data set; one that tells has ``classes`` in ``metainfo``.
        second: The other.

    Raises:
        ValueError: If their classes differ.
    """
    ours, theirs = (
        getattr(dataset, 'metainfo', {}).get('classes')
        for dataset in (first, second))
    if ours and theirs and tuple(ours) != tuple(theirs):
        raise ValueError(
            f'The labels of {what} do not mean the same: {len(ours)} classes, '
            f'{list(ours)[:5]} ..., and {len(theirs)}, {list(theirs)[:5]} '
            '... Give both data sets the same `classes`.')


@HOOKS.register_module()
class ClassesHook(Hook):
    """Check that the training and the validation set have the same classes.

    For the training of classifiers: a class folder that one of them lacks
    moves the labels of all that follow.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the classes before the first iteration."""
        if runner.val_loop is not None:
            check_classes('the training and the validation set',
                          runner.train_dataloader.dataset,
                          runner.val_dataloader.dataset)
