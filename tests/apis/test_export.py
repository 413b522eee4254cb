import importlib.util
import os

import pytest
import torch
from safetensors.torch import load_file

from mmdino.apis import export
from mmdino.models import VisionTransformer
from mmdino.models.backbones.position_embeddings import POS_EMBED_MODES
from mmdino.registry import MODELS
from mmdino.utils import resources
from mmdino.weights import convert, save_checkpoint
from mmdino.weights.formats.ours import backbone_of
from mmdino.weights.infer import backbone_cfg
from tests.tools.test_train_and_test import in_process
from tests.weights import states


@pytest.fixture
def checkpoint(tmp_path):
    path = str(tmp_path / 'ours.pth')
    save_checkpoint(convert(states.vit(), 'official', 'mmdino'), path)
    return path


@torch.no_grad()
def test_position_embeddings_in_the_graph():
    """Matrices give what interpolate does."""
    cfg = dict(
        arch=dict(
            embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=48),
        img_size=40,
        patch_size=8,
        num_registers=2,
        with_mask_token=True,
        out_type='raw')
    vit = VisionTransformer(**cfg)
    for token in (vit.pos_embed, vit.register_tokens):
        torch.nn.init.normal_(token)
    module = export.AnyGridViT(vit)
    vit.eval()
    module.eval()
    for size in ((40, 40), (16, 16), (24, 80), (40, 48), (120, 8)):
        for mode in POS_EMBED_MODES:
            vit.pos_embed_mode = mode
            images = torch.randn(1, 3, *size)
            torch.testing.assert_close(
                module(images)[0], vit(images)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize('format_, ending', [('onnx', 'onnx'),
                                             ('torch-export', 'pt2')])
@pytest.mark.parametrize('fixed', [False, True])
def test_graphs(checkpoint, tmp_path, capsys, format_, ending, fixed):
    if format_ == 'onnx':
        pytest.importorskip('onnxscript')
        pytest.importorskip('onnxruntime')
    options = ['--batch', 2, '--size', 24, 40] if fixed else []
    in_process('export', checkpoint, '--format', format_, '--heads', 3,
               '--device', 'cpu', *options)
    out = capsys.readouterr().out
    assert out.count('features differ by at most') == (1 if fixed else 6)
    assert 'Check passed' in out.splitlines()[-1]
    path = tmp_path / f'ours.{ending}'
    load = export.load_onnx if ending == 'onnx' else export.load_program
    backbone = backbone_of(convert(states.vit(), 'official', 'mmdino'))
    vit = MODELS.build(backbone_cfg(backbone, 3))
    vit.load_state_dict(backbone)
    vit.eval()
    run, network = load(str(path))
    assert network['backbone']['arch']['num_heads'] == 3
    assert network['preprocessing']['size'] == 32
    for batch, size in ((2, (24, 40)), (5, (48, 32)), (1, (32, 32))):
        images = torch.randn(batch, 3, *size)
        if fixed and batch != 2:
            with pytest.raises(Exception, match='2|24|size|shape'):
                run(images)
            continue
        with torch.no_grad():
            expected = vit(images)[0]
        torch.testing.assert_close(run(images), expected, rtol=0, atol=1e-4)


def test_weights_alone(checkpoint, tmp_path):
    in_process('export', checkpoint, '--format', 'safetensors', '--heads', 3)
    backbone = backbone_of(convert(states.vit(), 'official', 'mmdino'))
    read = load_file(tmp_path / 'ours.safetensors')
    torch.testing.assert_close(read, backbone, rtol=0, atol=0)


def test_weights_in_half_precision(checkpoint, tmp_path):
    args = (checkpoint, '--heads', 3, '--half', '--format')
    in_process('export', *args, 'safetensors')
    backbone = backbone_of(convert(states.vit(), 'official', 'mmdino'))
    read = load_file(tmp_path / 'ours.safetensors')
    assert read.keys() == backbone.keys()
    for name, weight in backbone.items():
        assert torch.equal(read[name], weight.half())
    with pytest.raises(SystemExit, match='choose the format safetensors'):
        in_process('export', *args, 'torch-export', as_user=True)


def test_the_checkpoint_is_not_overwritten(checkpoint, tmp_path):
    args = ('--heads', 3, '--format', 'safetensors')
    in_process('export', checkpoint, *args)
    path = tmp_path / 'ours.safetensors'
    before = path.read_bytes()
    in_process('export', path, *args, '--half')
    in_process('export', path, *args)
    wide, half = (
        load_file(tmp_path / f'ours_{word}.safetensors')
        for word in ('export', 'half'))
    assert {value.dtype for value in wide.values()} == {torch.float32}
    assert {value.dtype for value in half.values()} == {torch.float16}
    os.link(path, tmp_path / 'twin.safetensors')
    for out in (path, tmp_path / 'twin.safetensors'):
        with pytest.raises(SystemExit, match='is the checkpoint .* another'):
            in_process('export', path, *args, '--out', out, as_user=True)
    assert path.read_bytes() == before


def test_weights_that_half_precision_cannot_hold(tmp_path):
    state = states.vit()
    state['cls_token'].fill_(1e5)
    path = str(tmp_path / 'large.pth')
    save_checkpoint(convert(state, 'official', 'mmdino'), path)
    with pytest.raises(SystemExit, match='cls_token is too large'):
        in_process(
            'export',
            path,
            '--heads',
            3,
            '--half',
            '--format',
            'safetensors',
            as_user=True)
    assert not (tmp_path / 'large.safetensors').exists()


def export_small(checkpoint, format_):
    """A graph for one image of 16 px."""
    in_process(
        'export',
        checkpoint,
        '--format',
        format_,
        '--heads',
        3,
        '--batch',
        1,
        '--size',
        16,
        as_user=True)


def test_a_wrong_graph_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'LIMIT', -1.)
    with pytest.raises(
            SystemExit, match='features of the exported file differ'):
        export_small(checkpoint, 'torch-export')
    assert not (tmp_path / 'ours.pt2').exists()


def test_a_graph_that_does_not_run_is_not_written(checkpoint, tmp_path,
                                                  monkeypatch):
    import onnxruntime

    class Fails(onnxruntime.InferenceSession):

        def run(self, *args):
            raise ValueError('Axis 0 has mismatched dimensions')

    monkeypatch.setattr(onnxruntime, 'InferenceSession', Fails)
    with pytest.raises(
            SystemExit,
            match=r'cannot run the graph on images \(1, 3, .*onnxscript .*'
            'Nothing was written. .*Axis 0'):
        export_small(checkpoint, 'onnx')
    assert not (tmp_path / 'ours.onnx').exists()


def test_missing_packages(checkpoint, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        resources, 'find_spec', lambda name: None
        if name == 'onnxscript' else find(name))
    with pytest.raises(SystemExit, match='onnx needs .*pip install .*script'):
        export_small(checkpoint, 'onnx')


def test_not_ours(tmp_path):
    path = str(tmp_path / 'vit.pth')
    save_checkpoint(states.vit(), path)
    with pytest.raises(SystemExit, match='or --heads N'):
        in_process(
            'export', '--checkpoint', path, '--format', 'onnx', as_user=True)
    with pytest.raises(SystemExit, match='no checkpoint'):
        in_process(
            'export', str(tmp_path / 'none'), '--format', 'onnx', as_user=True)
