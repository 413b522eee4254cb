"""The arithmetic of losses and measures: tensors in, tensors out.

It imports nothing of mmdino.
"""
