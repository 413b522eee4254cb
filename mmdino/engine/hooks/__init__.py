from .centering_hook import CenteringHook
from .collapse_monitor_hook import CollapseMonitorHook
from .compile_hook import CompileHook
from .davis_results_hook import DAVISResultsHook
from .freeze_last_layer_hook import FreezeLastLayerHook
from .log_history_hook import LogHistoryHook
from .nonfinite_hook import NonFiniteHook
from .preemption_hook import PreemptionHook
from .previous_epoch_teacher_hook import PreviousEpochTeacherHook
from .previous_iteration_teacher_hook import PreviousIterationTeacherHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .student_copy_hook import StudentCopyHook
from .teacher_ema_hook import TeacherEMAHook
from .teacher_snapshot_hook import TeacherSnapshotHook
from .unreadable_images_hook import UnreadableImagesHook
from .validate_first_hook import ValidateFirstHook
from .weight_decay_log_hook import WeightDecayLogHook

__all__ = [
    'CenteringHook', 'CollapseMonitorHook', 'CompileHook', 'DAVISResultsHook',
    'FreezeLastLayerHook', 'LogHistoryHook', 'NonFiniteHook', 'PreemptionHook',
    'PreviousEpochTeacherHook', 'PreviousIterationTeacherHook',
    'SafeCheckpointHook', 'StudentCopyHook', 'TeacherEMAHook',
    'TeacherSnapshotHook', 'UnreadableImagesHook', 'ValidateFirstHook',
    'WeightDecayLogHook'
]
