from mmdino.engine.hooks.centering import CenteringHook
from mmdino.engine.hooks.classes import ClassesHook
from mmdino.engine.hooks.compile import CompileHook
from mmdino.engine.hooks.freezing import (FreezeBackboneHook,
                                          FreezeLastLayerHook)
from mmdino.engine.hooks.monitoring import (CollapseMonitorHook,
                                            LogHistoryHook,
                                            UnreadableImagesHook,
                                            ValidateFirstHook,
                                            WeightDecayLogHook)
from mmdino.engine.hooks.network import NetworkHook
from mmdino.engine.hooks.runtime_info import LateRuntimeInfoHook
from mmdino.engine.hooks.scale_lr import ScaleLRHook
from mmdino.engine.hooks.teacher import TeacherCopyHook, TeacherEMAHook

__all__ = [
    'CenteringHook', 'ClassesHook', 'CollapseMonitorHook', 'CompileHook',
    'FreezeBackboneHook', 'FreezeLastLayerHook', 'LateRuntimeInfoHook',
    'LogHistoryHook', 'NetworkHook', 'ScaleLRHook', 'TeacherCopyHook',
    'TeacherEMAHook', 'UnreadableImagesHook', 'ValidateFirstHook',
    'WeightDecayLogHook'
]
