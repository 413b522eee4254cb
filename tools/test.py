"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT"""
from mmdino.test import main
from mmdino.utils.tool import run_tool

if __name__ == '__main__':
    run_tool(main)
