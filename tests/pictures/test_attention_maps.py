"""Attention of images and videos of any size, drawn at that size."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmdino.apis import get_model
from mmdino.pictures.attention import AttentionMaps, heat_map
from mmdino.pictures.files import count_frames, draw_video, name_stems
from mmdino.registry import MODELS
from tests.tiny import model_cfg
from tests.tools.test_features_and_splits import run  # noqa: F401
from tests.tools.test_train_and_test import in_process


@pytest.fixture
def network():
    init_default_scope('mmdino')
    parts = {
        key: model_cfg()[key]
        for key in ('backbone', 'data_preprocessor')
    }
    model = MODELS.build(dict(parts, type='mmdino.FrozenTeacher'))
    model.init_weights()
    return model


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('shape, size, grid', [((32, 32), None, (4, 4)),
                                               ((37, 90), None, (5, 11)),
                                               ((3, 5), None, (1, 1)),
                                               ((100, 50), 16, (4, 2))])
def test_any_size(network, shape, size, grid):
    image = picture(*shape)
    maps = AttentionMaps(network, size)
    attention = maps.attend(image)
    assert attention.shape == (3, *grid)
    assert 0 < attention.sum() < 3
    pictures = maps.pictures(image, attention)
    assert list(pictures) == [
        'head_01', 'head_02', 'head_03', 'mean', 'mask', 'overlay'
    ]
    assert all(p.shape[:2] == shape for p in pictures.values())


def test_the_teacher_sees_the_image_in_its_order_of_channels(network):
    image = picture(32, 32)
    with torch.no_grad():
        for parameter in network.backbone.parameters():
            parameter.zero_()  # the student's are not looked at
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None]
    inputs = (rgb.float() - 127.5) / 64
    wanted = network.backbone.class_attention(inputs)[0]
    attention = AttentionMaps(network).attend(image)
    torch.testing.assert_close(attention, wanted)


def test_pictures_by_hand(network):
    maps = AttentionMaps(network, mass=.6)
    attention = torch.tensor([[[.4, .1]], [[.4, .1]]])
    image = np.full((2, 4, 3), 100, np.uint8)
    pictures = maps.pictures(image, attention)
    assert pictures['mask'].tolist() == [[255, 255, 0, 0]] * 2
    red = (.45 * 100 + .55 * np.array([38, 38, 220])).round()
    assert pictures['overlay'][0, 0].tolist() == red.tolist()
    assert pictures['overlay'][0, 3].tolist() == [60] * 3
    heat = heat_map(torch.tensor([[0., 1.]]), (1, 2))
    scale = cv2.applyColorMap(np.uint8([[0, 255]]), cv2.COLORMAP_INFERNO)
    assert np.array_equal(heat, scale)


def write_video(path, frames=5, size=(50, 36), rate=12):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), rate, size)
    for i in range(frames):
        writer.write(picture(size[1], size[0], i))
    writer.release()
    return path


def test_video_in_video_out(network, tmp_path):
    path = write_video(tmp_path / 'a b.mp4')
    out = tmp_path / 'out.mp4'
    assert draw_video(AttentionMaps(network).draw, path, out) == 5
    video = cv2.VideoCapture(str(out))
    assert [
        video.get(key)
        for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS,
                    cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    ] == [5, 12, 50, 36]
    assert video.read()[0]
    path.write_bytes(b'no video')
    with pytest.raises(ValueError, match='a b.mp4 is no video'):
        draw_video(AttentionMaps(network).draw, path, out)
    assert not (tmp_path / 'out.part.mp4').exists()


def test_a_header_that_names_too_few_frames(network, tmp_path):
    """OpenCV takes a short MPEG program stream for one frame."""
    path = tmp_path / 'stream.mpg'
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mpg1'), 25, (64, 48))
    for i in range(7):
        writer.write(np.full((48, 64, 3), 30 * i, np.uint8))
    writer.release()
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != 7
    out = tmp_path / 'o.mp4'
    assert draw_video(AttentionMaps(network).draw, path, out) == 7
    assert count_frames(out) == 7


def test_odd_sides_lose_a_row_of_pixels(network, tmp_path):
    path, out = tmp_path / 'odd.avi', tmp_path / 'o.mp4'
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*'MJPG'), 7,
        (51, 37))
    writer.write(picture(37, 51))
    writer.release()
    assert draw_video(AttentionMaps(network).draw, path, out) == 1
    assert cv2.VideoCapture(str(out)).read()[1].shape == (36, 50, 3)


@pytest.mark.parametrize('paths, names', [
    (['a/x.png', 'b/y.png'], ['x', 'y']),
    (['a/x.png', 'b/x.png', 'c/x_0.png'], ['x_1', 'x_2', 'x_0']),
])
def test_folders_have_names_of_their_own(paths, names):
    assert name_stems(paths) == names


def test_an_unreadable_image_is_named(run, tmp_path):  # noqa: F811
    path = tmp_path / 'x.png'
    path.write_bytes(b'no image')
    with pytest.raises(RuntimeError, match='x.png'):
        in_process('visualization/attention', path, '--checkpoint',
                   run / 'model.pth', '--config', run / 'config.py', '--out',
                   tmp_path)


def test_tool(run, tmp_path):  # noqa: F811
    folder = tmp_path / 'in'
    for name, shape in (('a/x.png', (40, 30)), ('b/x.jpg', (20, 70))):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(picture(*shape)).save(folder / name)
    write_video(folder / 'v.mp4', 3)
    args = ('--checkpoint', run / 'model.pth', '--config', run / 'config.py',
            '--out', tmp_path / 'out')
    in_process('visualization/attention', folder, *args)
    in_process('visualization/attention', folder / 'v.mp4', *args)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'overview.png', 'v_attention.mp4', 'x_0', 'x_1'
    ]
    assert Image.open(tmp_path / 'out/x_1/overlay.png').size == (70, 20)

    for path in folder.rglob('x.*'):
        path.unlink()
    with pytest.raises(ValueError, match='no image'):
        in_process('visualization/attention', folder, *args)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        in_process('visualization/attention', tmp_path / 'nowhere', *args)


def test_networks_that_do_not_fit(run, network, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match='how many attention heads'):
        get_model(checkpoint=str(run / 'model.pth'))
    state = network.state_dict()
    del state['backbone.cls_token']
    path = tmp_path / 'c.pth'
    torch.save(dict(state_dict=state), path)
    with pytest.raises(ValueError, match='cls_token'):
        get_model(str(run / 'config.py'), str(path))
    with pytest.raises(ValueError, match='mass in'):
        AttentionMaps(network, mass=0)
    network.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match='Identity gives no attention'):
        AttentionMaps(network)
