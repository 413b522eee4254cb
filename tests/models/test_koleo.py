"""KoLeo against the authors, with duplicates and on two ranks."""
import math

import pytest
import torch

from mmdino.models import KoLeoLoss
from tests.models.test_patch_loss import CASES, CLOSE, figures
from tests.ranks import run_ranks


@CASES
def test_loss_and_gradient_of_the_authors(case):
    values = figures(case)
    features = values['koleo_input'].requires_grad_()
    loss = KoLeoLoss()(features)
    loss.backward()
    torch.testing.assert_close(loss, values['koleo_loss'], **CLOSE)
    torch.testing.assert_close(features.grad, values['koleo_grad'], **CLOSE)


def test_crops_are_summed_and_know_nothing_of_each_other():
    crops = torch.randn(2, 5, 8)
    koleo = KoLeoLoss()
    torch.testing.assert_close(koleo(crops), koleo(crops[0]) + koleo(crops[1]))
    assert koleo(torch.stack([crops[0], crops[0]])).isfinite()
    assert koleo.duplicates == 0


def test_duplicates_are_finite_and_told():
    features = torch.randn(6, 8)
    features[4] = 3 * features[1]
    features.requires_grad_()
    koleo = KoLeoLoss()
    loss = koleo(features)
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all()
    torch.testing.assert_close(koleo.duplicates, torch.tensor(2 / 6))


def test_a_collapsed_batch_is_finite():
    koleo = KoLeoLoss()
    loss = koleo(torch.ones(4, 16, requires_grad=True))
    expected = -math.log(1e-8 * 4 + 1e-8)  # sqrt(16) = 4
    torch.testing.assert_close(loss.item(), expected, rtol=1e-2, atol=0)
    assert koleo.duplicates == 1


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_halves_are_computed_in_float32(dtype):
    features = torch.randn(5, 8).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        loss = KoLeoLoss()(features)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, KoLeoLoss()(features.float()))


def test_one_image_has_no_neighbour():
    with pytest.raises(
            ValueError, match='two images .* got 1: .*drop_last=True'):
        KoLeoLoss()(torch.randn(2, 1, 8))


def some_features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6, 8, generator=generator, dtype=torch.float64)


def on_ranks(rank, folder):
    whole, own = some_features(), some_features()[:, 3 * rank:3 * rank + 3]
    own.requires_grad_(), whole.requires_grad_()
    loss = KoLeoLoss(all_ranks=True)(own)
    (loss / 2).backward()  # DDP gives the mean over ranks
    expected = KoLeoLoss()(whole)
    expected.backward()
    torch.testing.assert_close(own.grad, whole.grad[:, 3 * rank:3 * rank + 3])
    torch.distributed.all_reduce(loss.detach_())
    torch.testing.assert_close(loss / 2, expected)
    # By default a rank keeps to itself.
    torch.testing.assert_close(KoLeoLoss()(own), KoLeoLoss()(own.detach()))
    one = KoLeoLoss(all_ranks=True)(own[:, :1])
    assert one.isfinite()


def test_neighbours_of_all_ranks(tmp_path):
    run_ranks(on_ranks, tmp_path)
