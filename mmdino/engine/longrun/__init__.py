"""Parts for trainings of weeks: they survive crashes, signals and NaNs."""
from mmdino.engine.longrun.checkpoints import (SafeCheckpointHook,
                                               TeacherSnapshotHook)
from mmdino.engine.longrun.loop import ResumableTrainLoop
from mmdino.engine.longrun.non_finite import NonFiniteHook
from mmdino.engine.longrun.resuming import ResumeHook
from mmdino.engine.longrun.signals import PreemptionHook

__all__ = [
    'NonFiniteHook', 'PreemptionHook', 'ResumableTrainLoop', 'ResumeHook',
    'SafeCheckpointHook', 'TeacherSnapshotHook'
]
