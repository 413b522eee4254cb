"""A table of real, tiny runs: resumed, reused, written down."""
import json
import shutil

import pytest
from mmengine.config import Config
from PIL import Image

from mmdino.experiments.ablations import BASES, AblationRun, find_variants
from tests.tools.test_train_and_test import in_process


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """Width 24, 48 pictures, batches of 16."""
    cfg = Config.fromfile(BASES['shapescenes'])
    cfg.model.backbone.arch.update(
        embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24)
    cfg.model.head.update(out_dim=64, hidden_channels=16)
    cfg.train_dataloader.update(
        batch_size=16, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.num_images = 48
    for loader in (cfg.test_dataloader, cfg.test_cfg.gallery_dataloader):
        loader.update(num_workers=0, batch_size=20)
        loader.dataset.num_images = 40
    cfg.test_evaluator[0].k = (5, 20)
    cfg.test_evaluator[1].C = (1., 10.)
    cfg.default_hooks.logger.interval = 1
    path = tmp_path_factory.mktemp('base') / 'tiny.py'
    cfg.dump(path)
    return path


@pytest.fixture(scope='module')
def root(base, tmp_path_factory):
    """Two rows of the table of guards, 2 epochs each."""
    folder = tmp_path_factory.mktemp('ablations')
    ablate(base, folder, 'guard', '--rows', 'centering', 'none')
    return folder


def ablate(base, folder, table, *options):
    in_process('ablate', table, '--base', base, '--epochs', '2', '--work-dir',
               folder, *options)


def rows(folder):
    return json.loads((folder / 'table.json').read_text())['rows']


def test_writes_the_table(root):
    centering, none = rows(root / 'guard')
    figures = centering['figures']['0']
    assert 0 <= figures['knn'] <= 100 and 0 <= figures['linear'] <= 100
    assert 0 < figures['entropy'] < 4.2 and figures['seconds'] > 0
    assert none['figures']['0']['entropy'] != figures['entropy']
    text = (root / 'guard/table.md').read_text()
    assert f'| centering | {figures["knn"]:.1f} |' in text
    assert 'epochs: `2`' in text and 'seeds: `0`' in text
    header, *lines = (root / 'guard/table.csv').read_text().splitlines()
    assert header.startswith('row,seed,knn,linear,entropy,kl,information,'
                             'collapse')
    assert [line.split(',')[:2] for line in lines] == [['centering', '0'],
                                                       ['none', '0']]
    for name in ('table', 'collapse'):
        assert Image.open(root / f'guard/{name}.png').width > 500


def test_figures_are_the_trainings_last(root):
    folder = root / 'guard/centering/seed_0'
    log, = folder.glob('train/*/vis_data/scalars.json')
    last = json.loads(log.read_text().splitlines()[-1])
    scores = json.loads((folder / 'test/metrics.json').read_text())
    figures = rows(root / 'guard')[0]['figures']['0']
    assert last['teacher_entropy'] == figures['entropy']
    assert last['target_information'] == figures['information']
    assert scores['knn/k20_top1'] == figures['knn']
    assert max(scores[f'linear/c{c}_top1']
               for c in (1, 10)) == figures['linear']


def test_an_average_is_scored_as_it_is_saved(base, tmp_path):
    """Polyak's: the teacher of the checkpoint, in queries and gallery."""
    ablate(base, tmp_path / 'out', 'averaging', '--rows', 'polyak')
    row, = rows(tmp_path / 'out/averaging')
    folder = tmp_path / 'out/averaging/polyak/seed_0'
    cfg = Config.fromfile(folder / 'config.py')
    cfg.custom_hooks = []
    cfg.dump(tmp_path / 'plain.py')
    in_process('test', tmp_path / 'plain.py',
               next((folder / 'train').glob('epoch_*.pth')), '--work-dir',
               tmp_path / 'test', '--out', tmp_path / 'metrics.json')
    scores = json.loads((tmp_path / 'metrics.json').read_text())
    assert scores['knn/k20_top1'] == row['figures']['0']['knn']


def test_what_was_finished_is_kept_in_any_table(root, base, capfd):
    before = rows(root / 'guard')[0]['figures']
    ablate(base, root, 'guard', '--rows', 'centering')
    ablate(base, root, 'teacher', '--rows', 'momentum')
    assert rows(root / 'guard')[0]['figures'] == before
    assert rows(root / 'teacher')[0]['figures'] == before
    assert not (root / 'teacher/momentum').exists()
    assert 'Epoch(train)' not in capfd.readouterr().out


def test_progress_and_resuming(root, base, capfd):
    """A run that was stopped goes on from its last checkpoint."""
    folder = root / 'guard/centering/seed_0'
    (folder / 'result.json').rename(folder / 'kept.json')
    ablate(base, root, 'guard', '--rows', 'centering', 'none')
    out = capfd.readouterr().out
    assert '[1/2] guard/centering, seed 0' in out
    assert '[2/2] guard/none, seed 0, 0:0' in out and 'left at most' in out
    logs = sorted(folder.glob('train/*/*.log'))
    assert len(logs) == 2 and 'resumed epoch: 2' in logs[1].read_text()
    ours, kept = [
        json.loads((folder / f'{name}.json').read_text())
        for name in ('result', 'kept')
    ]
    assert ours['knn'] == kept['knn'] and ours['kl'] == kept['kl']


def test_another_setting_in_the_same_folder_is_refused(root, base):
    path = find_variants('guard', ['centering'])[0].path
    run = AblationRun(path, root / 'guard/centering/seed_0', base, epochs=3)
    with pytest.raises(ValueError, match='another setting.*--work-dir'):
        run.finished()
    with pytest.raises(ValueError, match='another setting.*--work-dir'):
        run.run()
    with pytest.raises(ValueError, match='1 epochs leave nothing after the 1'):
        AblationRun(path, root / 'x', base, epochs=1)
    cfg = Config.fromfile(base)
    cfg.test_evaluator[0].k = (5, )
    cfg.dump(root / 'no_20.py')
    with pytest.raises(ValueError, match='k = 20: add'):
        AblationRun(path, root / 'x', root / 'no_20.py')


def test_a_work_dir_can_be_moved(root, base, tmp_path):
    shutil.copytree(root / 'guard', tmp_path / 'moved/guard')
    path = find_variants('guard', ['centering'])[0].path
    folder = tmp_path / 'moved/guard/centering/seed_0'
    figures = AblationRun(path, folder, base, epochs=2).finished()
    assert figures.folder == str(folder / 'train')


def test_a_failure_does_not_stop_the_others(base, tmp_path):
    cfg = Config.fromfile(base)
    cfg.train_dataloader.batch_size = 4096  # no batch
    cfg.dump(tmp_path / 'broken.py')
    with pytest.raises(SystemExit, match='Failed: none, centering'):
        ablate(tmp_path / 'broken.py', tmp_path / 'out', 'guard', '--rows',
               'none', 'centering')
    first, second = rows(tmp_path / 'out/guard')
    assert 'Lower batch_size' in first['error']
    assert 'log.txt' in second['error'] and not second['figures']
    assert '| - | - |' in (tmp_path / 'out/guard/table.md').read_text()


def test_a_row_that_does_not_fit_the_base_is_told(base, tmp_path):
    with pytest.raises(SystemExit, match='Failed: patch-5'):
        ablate(base, tmp_path, 'patch', '--rows', 'patch-5')
    row, = rows(tmp_path / 'patch')
    assert 'cannot be put upon' in row['error']


@pytest.mark.slow
def test_the_probe_by_sgd_if_the_base_has_no_linear_classifier(base, tmp_path):
    """As in the paper's setting, whose validation is k-NN alone."""
    cfg = Config.fromfile(base)
    cfg.test_evaluator = cfg.test_evaluator[:1]
    cfg.dump(tmp_path / 'knn_only.py')
    ablate(tmp_path / 'knn_only.py', tmp_path / 'out', 'guard', '--rows',
           'centering')
    row, = rows(tmp_path / 'out' / 'guard')
    folder = tmp_path / 'out/guard/centering/seed_0'
    log, = folder.glob('linear/**/vis_data/scalars.json')
    scores = [json.loads(line) for line in log.read_text().splitlines()]
    assert row['figures']['0']['linear'] == scores[-1]['linear/best_top1']
    assert row['error'] is None
