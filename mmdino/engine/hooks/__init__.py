from .centering_hook import CenteringHook
from .collapse_monitor_hook import CollapseMonitorHook
from .davis_results_hook import DAVISResultsHook
from .freeze_last_layer_hook import FreezeLastLayerHook
from .nonfinite_hook import NonFiniteHook
from .preemption_hook import PreemptionHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .teacher_ema_hook import TeacherEMAHook
from .unreadable_images_hook import UnreadableImagesHook
from .validate_first_hook import ValidateFirstHook
from .weight_decay_log_hook import WeightDecayLogHook

__all__ = [
    'CenteringHook', 'CollapseMonitorHook', 'DAVISResultsHook',
    'FreezeLastLayerHook', 'NonFiniteHook', 'PreemptionHook',
    'SafeCheckpointHook', 'TeacherEMAHook', 'UnreadableImagesHook',
    'ValidateFirstHook', 'WeightDecayLogHook'
]
