"""Multi-crop: several views of one image (arXiv 2104.14294, sec. 3.1)."""
from collections.abc import Callable, Mapping, Sequence

from mmcv.transforms import BaseTransform, Compose

from mmdino.registry import TRANSFORMS

Step = dict | Callable


@TRANSFORMS.register_module()
class MultiCrop(BaseTransform):
    """Turn ``img`` into a list of views, each by a pipeline of its own.

    Views have names, and their crops stand apart from what follows, because
    MMEngine's config inheritance merges dicts but replaces lists: a config
    that inherits changes the number or the scale of the crops by naming these
    alone. With ``before`` and ``after`` it is the whole pipeline, so that no
    list stands above ``views`` either::

        pipeline=dict(
            type='MultiCrop',
            before=[dict(type='LoadImage')],
            views=dict(
                global_1=dict(num_views=2, crop=dict(...), pipeline=[...]),
                local=dict(num_views=8, crop=dict(...), pipeline=[...])),
            after=[dict(type='PackViews')])

    The views come in the order of their names, since MMEngine sorts the keys
    of the configs it writes; the teacher's come first as ``global``.

    Args:
        views: For each kind of view ``num_views`` (int, 0 leaves it out),
            ``crop`` (a step, that is a transform or its config) and
            ``pipeline`` (the steps after it).
        before: Steps on the image before it is cropped.
        after: Steps on the results with the list of views.

    Raises:
        ValueError: If there is no view, a number below 0 or an unknown key.
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
            raise ValueError('MultiCrop needs at least one view, got '
                             f'{dict(views)}')

    def transform(self, results: dict) -> dict | None:
        results = self.before(results)
        if results is None:
            return None
        # A copy for each view: what one writes beside img (whether it was
        # flipped, say) is not the next one's, nor the image's.
        views = [pipeline(dict(results)) for pipeline in self.pipelines]
        results['img'] = [view['img'] for view in views]
        return self.after(results)


def build_steps(steps: Sequence[Step] | dict) -> Compose:
    """Build a pipeline from its config, a list of steps or a single one."""
    if isinstance(steps, Mapping):
        steps = [steps]
    return Compose([
        TRANSFORMS.build(step) if isinstance(step, Mapping) else step
        for step in steps
    ])


def _build_view(name: str, num_views: int, crop: Step,
                pipeline: Sequence[Step], **unknown) -> list[Compose]:
    if unknown:
        raise ValueError(f'view {name!r} takes num_views, crop and pipeline, '
                         f'not {sorted(unknown)}')
    if num_views < 0:
        raise ValueError(f'the number of views of {name!r} must not be '
                         f'negative, got {num_views}')
    return [build_steps([crop, *pipeline])] * num_views
