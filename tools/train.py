"""Pretrain with a config: python tools/train.py configs/dino_vit-s16.py"""
from mmdino.train import main

if __name__ == '__main__':
    main()
