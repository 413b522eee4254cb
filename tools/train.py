"""Pretrain with a config: python tools/train.py configs/dino_vit-s16.py"""
from mmdino.train import main
from mmdino.utils.tool import run_tool

if __name__ == '__main__':
    run_tool(main)
