"""Imported by a config (custom_imports): its process computes in float64."""
import torch

import tests.tiny  # noqa: F401

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
