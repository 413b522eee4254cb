from .deepspeed import DeepSpeedOptimWrapper, DeepSpeedStrategy
from .fsdp import FSDPStrategy

__all__ = ['DeepSpeedOptimWrapper', 'DeepSpeedStrategy', 'FSDPStrategy']
