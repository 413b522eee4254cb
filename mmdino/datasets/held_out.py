"""A data set split in two, class by class."""
from mmengine.dataset import BaseDataset

from mmdino.functional.low_shot import balanced_split
from mmdino.registry import DATASETS


@DATASETS.register_module()
class HeldOut:
    """One part of a split data set: a share of each class, or the rest.

    Two configs that differ in ``rest`` alone have no image in common and
    together all of them. Building it gives the data set itself, shortened.

    Args:
        dataset: Config of a data set with labels that lists its items, such as
            :class:`.Images`.
        share: Of each class, in (0, 1); at least one image of each.
        rest: Whether to give what is not held out.
        seed: Chooses another part.

    Raises:
        TypeError: If the data set cannot be shortened.
        ValueError: If it has no labels, or the rest is empty.
    """

    def __new__(cls,
                dataset: dict,
                share: float = .1,
                rest: bool = False,
                seed: int = 0) -> BaseDataset:
        built = DATASETS.build(dataset)
        if not isinstance(built, BaseDataset):
            raise TypeError(f'{type(built).__name__} cannot be cut in two: '
                            'take a data set that lists its items, such as '
                            'Images.')
        built.full_init()
        labels = [
            built.get_data_info(i).get('gt_label') for i in range(len(built))
        ]
        if None in labels:
            raise ValueError(f'{type(built).__name__} has no labels to hold '
                             'out a share of each class by.')
        held_out = balanced_split(labels, share, seed)
        if rest:
            held_out = sorted({*range(len(built))}.difference(held_out))
        if not held_out:
            raise ValueError(f'Nothing is left of {len(built)} images after '
                             f'a share of {share:g} is held out: lower share.')
        built.get_subset_(held_out)
        return built
