"""The documentation is built without warnings, and its code runs."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdino.engine import configs
from mmdino.engine.launch import build_runner
from mmdino.registry import MODELS
from mmdino.weights import list_models

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
EXTENDING = (ROOT / 'docs/extending.md').read_text()
BLOCKS = {
    re.match(r'# ([\w.]+)', code)[1]: code
    for code in re.findall(r'```python\n(.*?)```', EXTENDING, re.DOTALL)
}
OURS = r'(?<![\w/.-])((?:configs|tools|mmdino)/[\w/.-]+\.\w+)'


@pytest.mark.slow
def test_it_is_built_without_warnings(tmp_path):
    pytest.importorskip('myst_parser')
    done = subprocess.run([
        sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', 'docs',
        tmp_path
    ],
                          cwd=ROOT,
                          env=dict(os.environ, PYTHONWARNINGS='ignore'),
                          text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / 'api.html').read_text()
    for name in ('FeatureExtractor', 'DINOv2', 'IBOTLoss', 'TeacherEMAHook',
                 'CorLoc', 'open_weights'):
        assert name in text, name


@pytest.mark.parametrize('page', DOCS, ids=lambda page: page.stem)
def test_links_and_named_files(page):
    text = page.read_text()
    links = re.findall(r'\]\((?!http)([^)#]+)\)', text)
    links += re.findall(r'\{include\} (\S+)', text)
    for link in links:
        assert (page.parent / link).exists(), link
    for name in re.findall(OURS, text):
        assert (ROOT / name).exists(), name


def one_step(cfg, folder):
    """Of a training on few pictures, and a validation."""
    cfg.work_dir, cfg.launcher = str(folder / 'run'), 'none'
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler.warmup_epochs = 0
    cfg.train_dataloader.update(batch_size=8, num_workers=0)
    cfg.train_dataloader.persistent_workers = False
    cfg.train_dataloader.dataset.num_images = 8
    for loader in filter(None,
                         (cfg.val_dataloader, cfg.val_cfg.gallery_dataloader)):
        loader.update(num_workers=0, persistent_workers=False, batch_size=20)
        loader.dataset.num_images = 20
    runner = build_runner(configs.prepare(cfg))
    runner.train()
    return runner


@pytest.mark.parametrize('config,part', [
    ('my_loss.py', 'CosineLoss'),
    ('my_centering.py', 'HardTargets'),
    ('my_network.py', 'TwoLayers'),
    ('my_metric.py', None),
])
def test_extensions_train(config, part, tmp_path, monkeypatch):
    for name, code in BLOCKS.items():
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    runner = one_step(configs.read_config(str(tmp_path / config)), tmp_path)
    if part:
        assert part in {type(m).__name__ for m in runner.model.modules()}
    else:
        values = runner.message_hub.get_scalar('val/nearest_mean/top1').data[0]
        assert 0 <= values[-1] <= 100


def block_of(page, name):
    """A Python block of a page, by the file name that it begins with."""
    blocks = re.findall(r'```python\n(.*?)```',
                        (ROOT / f'docs/{page}.md').read_text(), re.DOTALL)
    found, = (code for code in blocks if code.startswith(f'# {name}'))
    return found


@pytest.mark.parametrize('page,name', [
    ('own_pictures', 'unlabelled.py'),
    ('log', 'watched.py'),
])
def test_training_shows_itself(page, name, tmp_path):
    """The page's settings, on a small network and drawn pictures."""
    (tmp_path / name).write_text(block_of(page, name))
    given = configs.read_config(str(tmp_path / name))
    cfg = configs.read_config('quickstart/dino_vit-tiny_shapescenes')
    for key in ('custom_hooks', 'val_evaluator'):
        if key in given:
            cfg[key] = given[key]
    if given.val_cfg.gallery_dataloader is None:
        cfg.val_cfg.gallery_dataloader = None
    if cfg.get('custom_hooks'):
        cfg.custom_hooks[0].interval = 1
    runner = one_step(cfg, tmp_path)
    if page == 'log':
        drawn = (tmp_path / 'run').rglob('vis_image/attention_*.png')
        assert {file.stem for file in drawn} == {'attention_0', 'attention_1'}
        assert 'val/knn/k20_top1' in runner.message_hub.log_scalars
    rank, = runner.message_hub.get_scalar('val/rank/rankme').data[0]
    assert 1 <= rank <= 20


def test_the_table_of_models_is_that_of_the_index():
    text = (ROOT / 'docs/models.md').read_text()
    rows = [[cell.strip() for cell in line.strip('| ').split('|')]
            for line in text.splitlines() if line.startswith('| `')]
    told = {}
    for names, _, _, knn, linear, *_ in rows:
        first, *more = re.findall('`(.+?)`', names)
        for place, name in enumerate([first, *(first + m for m in more)]):
            told[name] = [
                float(cell.split(',')[place]) for cell in (knn, linear) if cell
            ]
    for model in list_models():
        assert told.pop(model.name) == [*model.metrics.values()], model.name
    assert not told


def test_the_notebook_runs(tmp_path, monkeypatch):
    """On drawn pictures, the shipped weights and a ViT of the tests."""
    path = ROOT / 'docs/look_at_pictures.ipynb'
    cells = [
        cell for cell in json.loads(path.read_text())['cells']
        if cell['cell_type'] == 'code'
    ]
    drawn = [o for cell in cells for o in cell['outputs'] if 'data' in o]
    assert sum('image/jpeg' in output['data'] for output in drawn) == 3
    assert path.stat().st_size < 1e6
    monkeypatch.chdir(tmp_path)
    scope = {}
    for cell in cells:
        code = ''.join(cell['source'])
        exec(re.sub('^%.*', '', code, flags=re.MULTILINE), scope)
        if 'VIT' in code and 'SIZE =' in code:
            scope.update(
                VIT=str(ROOT / 'tests/data/checkpoints/vit.pth'), SIZE=32)
    assert len(scope['names']) == 80
    assert scope['patches'][0].shape[:2] == (8, 8)


def component(file, name):
    """The class of a block, which can be registered once only."""
    if name not in MODELS.module_dict:
        exec(BLOCKS[file], {'__name__': file})
    return MODELS.get(name)


def test_the_masking():
    masks = component('half_masking.py', 'HalfMasking')()(6, (2, 4))
    assert masks.shape == (6, 8) and (masks.sum(1) == 4).all()


def test_the_loss_by_definition():
    loss = component('cosine_loss.py', 'CosineLoss')()
    student, targets = torch.randn(3, 4, 5), torch.randn(2, 4, 5).softmax(-1)
    pairs = [
        1 - torch.cosine_similarity(
            student[v].softmax(-1), targets[t], dim=-1).mean()
        for v in range(3) for t in range(2) if v != t
    ]
    torch.testing.assert_close(
        loss(student, targets),
        torch.stack(pairs).mean())
