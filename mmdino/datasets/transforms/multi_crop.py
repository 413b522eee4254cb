"""Multi-crop: several views of one image (arXiv 2104.14294, sec. 3.1)."""
from collections.abc import Callable, Mapping, Sequence

from mmcv.transforms import BaseTransform, Compose

from mmdino.registry import TRANSFORMS

Step = dict | Callable


@TRANSFORMS.register_module()
class MultiCrop(BaseTransform):
    """Turn ``img`` into a list of views, each by a pipeline of its own.

    MMEngine's config inheritance merges dicts but replaces lists. Therefore
    the kinds of views are a dict with names, and ``crop`` is a key of its own:
    an inheriting config can change the number or the scale of some crops
    alone. With ``before`` and ``after`` this transform is the whole pipeline,
    so that ``views`` is not inside a list either::

        pipeline=dict(
            type='MultiCrop',
            before=[dict(type='LoadImage')],
            views=dict(
                global_1=dict(num_views=2, crop=dict(...), pipeline=[...]),
                local=dict(num_views=8, crop=dict(...), pipeline=[...])),
            after=[dict(type='PackViews')])

    The views are sorted by name, because MMEngine sorts the keys of the
    configs that it writes. Name those of the teacher ``global...``, so that
    they come first.

    Args:
        views: A dict for each kind of view, with ``num_views`` (int; 0 leaves
            the kind out), ``crop`` (a transform or its config) and
            ``pipeline`` (the transforms after it, by default none).
        before: Transforms of the image before the crops.
        after: Transforms of the results, whose ``img`` is the list of views.

    Raises:
        ValueError: If there is no view, ``num_views`` is negative, or a dict
            has an unknown key or lacks ``num_views`` or ``crop``.
    """

    def __init__(
        self,
        views: Mapping[str, dict],
        before: Sequence[Step] = (),
        after: Sequence[Step] = ()
    ) -> None:
        self.before = build_steps(before)
        self.pipelines = [
            pipeline for name in sorted(views)
            for pipeline in _build_view(name, **views[name])
        ]
        self.after = build_steps(after)
        if not self.pipelines:
            raise ValueError('MultiCrop needs at least one view with '
                             f'num_views above 0, got {dict(views)}')

    def transform(self, results: dict) -> dict | None:
        results = self.before(results)
        if results is None:
            return None
        # Each view gets a copy: other keys that its pipeline sets, such as
        # 'flip', concern neither the next view nor the whole image.
        views = [pipeline(dict(results)) for pipeline in self.pipelines]
        results['img'] = [view['img'] for view in views]
        return self.after(results)


def build_steps(steps: Sequence[Step] | dict) -> Compose:
    """Build a pipeline from transforms or their configs, or a single one."""
    if isinstance(steps, Mapping):
        steps = [steps]
    return Compose([
        TRANSFORMS.build(step) if isinstance(step, Mapping) else step
        for step in steps
    ])


def _build_view(name: str,
                num_views: int | None = None,
                crop: Step | None = None,
                pipeline: Sequence[Step] = (),
                **unknown) -> list[Compose]:
    if unknown:
        raise ValueError(f'view {name!r} takes num_views, crop and pipeline, '
                         f'not {sorted(unknown)}')
    if num_views is None or crop is None:
        raise ValueError(
            f'view {name!r} needs num_views and crop, got '
            f'num_views={num_views} and crop={crop}: add what is None.')
    if num_views < 0:
        raise ValueError(f'num_views of the view {name!r} must not be '
                         f'negative, got {num_views}')
    return [build_steps([crop, *pipeline])] * num_views
