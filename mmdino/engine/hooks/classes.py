"""Check that two data sets number the same classes in the same way."""
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdino.registry import HOOKS


def check_classes(what: str, first: Dataset, second: Dataset) -> None:
    """Raise an error if labels of two data sets mean different classes.

    Data sets without ``classes`` in their ``metainfo`` are not checked.

    Args:
        what: What the two are, such as 'queries and gallery', for the error
            message.
        first: A data set.
        second: Another data set.

    Raises:
        ValueError: If their classes differ.
    """
    ours, theirs = (
        getattr(dataset, 'metainfo', {}).get('classes')
        for dataset in (first, second))
    if ours and theirs and tuple(ours) != tuple(theirs):
        raise ValueError(
            f'The labels of {what} mean different classes: {len(ours)} '
            f'classes, {list(ours)[:5]} ..., and {len(theirs)} classes, '
            f'{list(theirs)[:5]} ... Give both data sets the same `classes`.')


@HOOKS.register_module()
class ClassesHook(Hook):
    """Check that the training and the validation set have the same classes.

    This is for the training of classifiers: if one of the sets lacks the
    folder of a class, the labels of all following classes differ.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the classes before the first iteration."""
        if runner.val_loop is not None:
            check_classes('the training and the validation set',
                          runner.train_dataloader.dataset,
                          runner.val_dataloader.dataset)
