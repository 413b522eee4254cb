# Keeps the teacher of every 10th epoch, in addition to the last full
# checkpoints: add '_base_/teacher_snapshots.py' to the _base_ list of a
# config.
teacher_snapshots = dict(interval=10)
