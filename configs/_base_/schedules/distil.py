# AdamW for a student that starts from nothing and follows a frozen network.
_base_ = 'adamw_100e.py'

param_scheduler = dict(warmup_epochs=5, end_weight_decay=None)
