"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT"""
from mmdino.test import main

if __name__ == '__main__':
    main()
