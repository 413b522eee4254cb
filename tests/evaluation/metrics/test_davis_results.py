import numpy as np
from PIL import Image

from mmdino.evaluation.metrics.davis import (ObjectScores, save_masks,
                                             save_tables)
from mmdino.functional.davis import FrameStatistics


def test_masks_come_back_with_the_palette(tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(8, 32)
    save_masks(tmp_path / 'kite', ['00000', '00001'], [every, every % 3])
    for name, wanted in (('00000', every), ('00001', every % 3)):
        with Image.open(tmp_path / 'kite' / f'{name}.png') as image:
            assert image.mode == 'P'
            assert (np.array(image) == wanted).all()
            colors = np.array(image.getpalette()).reshape(-1, 3)
        assert colors[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0],
                                       [128, 128, 0]]
    # PASCAL VOC's bits, with 191 for 192
    for number in range(22):
        voc = [
            sum((number >> (channel + 3 * i) & 1) << (7 - i) for i in range(3))
            for channel in range(3)
        ]
        with Image.open(tmp_path / 'kite/00000.png') as image:
            got = image.getpalette()[3 * number:3 * number + 3]
        assert got == [min(value, 191) for value in voc]


def test_tables(tmp_path):
    objects = dict(
        kite_1=ObjectScores(
            FrameStatistics(.5, .25, .1), FrameStatistics(.75, 1, -.1)),
        kite_2=ObjectScores(
            FrameStatistics(1, .75, .3), FrameStatistics(.25, 0, .2)))
    save_tables(tmp_path / 'davis', 'val', objects)
    assert (tmp_path / 'davis/global_results-val.csv').read_text() == (
        'J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n'
        '0.625,0.750,0.500,0.200,0.500,0.500,0.050\n')
    assert (tmp_path / 'davis/per-sequence_results-val.csv').read_text() == (
        'Sequence,J-Mean,F-Mean\n'
        'kite_1,0.500,0.750\n'
        'kite_2,1.000,0.250\n')
