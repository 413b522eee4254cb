# The teacher of every 10th epoch, kept beside the last whole checkpoints: add
# '_base_/teacher_snapshots.py' to a config's _base_ list.
teacher_snapshots = dict(interval=10)
