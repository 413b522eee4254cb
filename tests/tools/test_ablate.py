"""A table of real, tiny runs: resumed, reused, written down."""
import json
import shutil

import pytest
from mmengine.config import Config
from PIL import Image

from mmdino.experiments import jobs
from mmdino.experiments.ablations import BASES, Ablation, find_rows
from tests.launching import RUN_TOOL, forked_tools
from tests.tools.test_train_and_test import in_process


@pytest.fixture(scope='module', autouse=True)
def forked():
    with forked_tools():
        yield


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
    assert 0 <= figures['knn'] <= 100
    assert 0 <= figures['classifier'] <= 100
    assert 0 < figures['entropy'] < 4.2 and figures['seconds'] > 0
    assert none['figures']['0']['entropy'] != figures['entropy']
    text = (root / 'guard/table.md').read_text()
    assert f'| centering | {figures["knn"]:.1f} |' in text
    assert 'logistic regression top-1, %' in text and 'linear' not in text
    assert 'epochs: `2`' in text and 'seeds: `0`' in text
    header, *lines = (root / 'guard/table.csv').read_text().splitlines()
    assert header.startswith('row,seed,knn,classifier,entropy,kl,information,'
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
    assert max(scores[f'low_shot/c{c}_top1']
               for c in (1, 10)) == figures['classifier']


def test_an_average_is_scored_as_it_is_saved(base, tmp_path):
    """Polyak's: the teacher of the checkpoint, in queries and gallery."""
    ablate(base, tmp_path / 'out', 'averaging', '--rows', 'polyak')
    row, = rows(tmp_path / 'out/averaging')
    folder = tmp_path / 'out/averaging/polyak/seed_0'
    cfg = Config.fromfile(folder / 'train/config.py')
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


def test_the_plan(root, base, capfd):
    ablate(base, root, 'teacher', '--dry-run', '--rows', 'momentum',
           'student-copy')
    out = capfd.readouterr().out
    assert str(base) in out and 'Epoch(train)' not in out
    assert (f'finished in {root}/guard/centering/seed_0; the base itself, '
            'one run for all tables |') in out
    assert '| The student itself, without gradient | to run |' in out
    ablate(base, root, 'guard', '--dry-run', '--rows', 'none', 'centering',
           '--cfg-options', 'none.optim_wrapper.optimizer.lr=1')
    out = capfd.readouterr().out
    assert 'to run again (config optim_wrapper.optimizer.lr: was 0.004, ' \
        'now 1)' in out
    ablate(base, root, 'patch', '--dry-run', '--rows', 'patch-5')
    assert 'cannot be run: The row patch/patch-5' in capfd.readouterr().out


def test_progress_and_resuming(root, base, capfd):
    """A run that was stopped goes on from its last checkpoint."""
    folder = root / 'guard/centering/seed_0'
    (folder / 'train/result.json').rename(folder / 'train/kept.json')
    (folder / 'test/result.json').rename(folder / 'test/kept.json')
    ablate(base, root, 'guard', '--rows', 'centering', 'none')
    out = capfd.readouterr().out
    assert '[1/2] guard/centering, seed 0' in out
    assert '[2/2] guard/none, seed 0, 0:0' in out and 'left at most' in out
    logs = sorted(folder.glob('train/*/*.log'))
    assert len(logs) == 2 and 'resumed epoch: 2' in logs[1].read_text()
    for part, key in (('train', 'kl'), ('test', 'knn/k20_top1')):
        ours, kept = (
            json.loads((folder / part / f'{name}.json').read_text())[key]
            for name in ('result', 'kept'))
        assert ours == kept


def test_another_setting_is_another_run(root, base):
    row, = find_rows('guard', ['centering'])

    def states(epochs=2, options={}, **others):
        ablation = Ablation(
            str(base), root, epochs=epochs, options=options, **others)
        return [job.state for job in ablation.jobs(row, 0)]

    assert states() == ['finished', 'finished']
    assert states(epochs=3) == 2 * [
        'to run again (config train_cfg.max_epochs: was 2, now 3)'
    ]
    assert states(processes=2)[0].startswith('to run again')
    train, test = states(options={'test_dataloader.dataset.num_images': 30})
    assert train == 'finished'
    assert 'num_images: was 40, now 30; data test_dataloader: ' in test
    cfg = Config.fromfile(base)
    cfg.test_evaluator[0].k = (5, )
    cfg.dump(root / 'no_20.py')
    with pytest.raises(ValueError, match='k = 20, .*: add'):
        Ablation(str(root / 'no_20.py'), root)


def test_a_work_dir_can_be_moved(root, base, tmp_path):
    shutil.copytree(root / 'guard', tmp_path / 'moved/guard')
    row, = find_rows('guard', ['centering'])
    jobs = Ablation(str(base), tmp_path / 'moved', epochs=2).jobs(row, 0)
    for name, job in zip(('train', 'test'), jobs):
        assert job.folder == tmp_path / 'moved/guard/centering/seed_0' / name
        assert job.state == 'finished'


def test_prints_a_config_that_trains(base, tmp_path, capfd):
    row = 'centering-only'
    in_process('ablate', 'collapse', '--base', base, '--epochs', 2,
               '--print-config', row, '--work-dir', tmp_path, '--cfg-options',
               'model.head.out_dim=32', f'{row}.train_dataloader.batch_size=8')
    (tmp_path / 'row.py').write_text(capfd.readouterr().out)
    cfg = Config.fromfile(tmp_path / 'row.py')
    assert cfg.work_dir == str(tmp_path / 'collapse' / row)
    assert cfg.default_hooks.centering.teacher_temp == .1
    assert cfg.model.head.out_dim == 32
    assert cfg.train_dataloader.batch_size == 8
    in_process('train', tmp_path / 'row.py', '--no-validate')
    assert (tmp_path / 'collapse' / row / 'epoch_2.pth').exists()


def test_a_failure_does_not_stop_the_others(base, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, '_run', RUN_TOOL)  # as users have it
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
    assert 'changes a setting that' in row['error']


@pytest.mark.slow
def test_the_probe_by_sgd_if_the_base_has_no_linear_classifier(base, tmp_path):
    """As in the paper's setting, whose validation is k-NN alone."""
    cfg = Config.fromfile(base)
    cfg.test_evaluator = cfg.test_evaluator[:1]
    cfg.dump(tmp_path / 'knn_only.py')
    ablate(tmp_path / 'knn_only.py', tmp_path / 'out', 'guard', '--rows',
           'centering', '--cfg-options', 'linear.train_cfg.max_epochs=3',
           'linear.train_cfg.val_interval=1')
    row, = rows(tmp_path / 'out' / 'guard')
    folder = tmp_path / 'out/guard/centering/seed_0'
    log, = folder.glob('linear/**/vis_data/scalars.json')
    scores = [json.loads(line) for line in log.read_text().splitlines()]
    tops = [s['linear/best_top1'] for s in scores if 'linear/best_top1' in s]
    assert row['figures']['0']['classifier'] == max(tops)
    assert max(s.get('epoch', 0) for s in scores) == 3
    assert row['error'] is None
    text = (tmp_path / 'out/guard/table.md').read_text()
    assert '| linear top-1, % |' in text
