from .fsdp import FSDPStrategy

__all__ = ['FSDPStrategy']
