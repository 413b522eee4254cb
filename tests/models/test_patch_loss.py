"""The loss of masked tokens, against the authors and against itself."""
import pytest
import torch
from torch.nn.functional import cross_entropy

from mmdino.functional.losses import token_weights
from mmdino.models import IBOTLoss, MeanCentering, SinkhornKnopp
from tests import golden

DATA = golden.load(golden.files('v2_losses.npz', golden.GOLDEN_V2)[0])
CASES = pytest.mark.parametrize(
    'case', sorted({key.partition('.')[0]
                    for key in DATA}))
CLOSE = dict(rtol=0, atol=1e-10)


def figures(case):
    return {
        key.partition('.')[2]: torch.from_numpy(value)
        for key, value in DATA.items() if key.startswith(f'{case}.')
    }


def build(centering, values, kind):
    """A centering of class tokens or patches as it was before the batch."""
    centering = centering(values[f'teacher_{kind}'].shape[-1]).double()
    centering.temperature = values['teacher_temp'].item()
    if hasattr(centering, 'center'):
        name = 'patch' if kind == 'patches' else kind
        centering.center[:] = values[f'{name}_center_before']
    return centering.train()


@CASES
@pytest.mark.parametrize('kind', ['cls', 'patches'])
def test_guards_and_centres_of_the_authors(case, kind):
    values = figures(case)
    logits = values[f'teacher_{kind}']
    name = 'patch' if kind == 'patches' else kind
    centering = build(MeanCentering, values, kind)
    torch.testing.assert_close(
        centering(logits), values[f'{name}_centered'], **CLOSE)
    centering.update()
    torch.testing.assert_close(centering.center,
                               values[f'{name}_center_after'].view(1, -1),
                               **CLOSE)
    centering = build(SinkhornKnopp, values, kind)
    for shaped in (logits, logits[None]):
        torch.testing.assert_close(
            centering(shaped), values[f'{name}_sinkhorn'].view_as(shaped),
            **CLOSE)


@CASES
@pytest.mark.parametrize('tokens_per_chunk', [None, 1, 4, 100])
def test_loss_and_gradient_of_the_authors(case, tokens_per_chunk):
    values = figures(case)
    student = values['student_patches'].requires_grad_()
    targets, weights = values['patch_centered'], token_weights(values['masks'])
    loss = IBOTLoss(values['student_temp'].item())
    if tokens_per_chunk is None:
        result = loss(student, targets, weights)
    else:  # logits that are the vectors themselves
        eye = torch.eye(student.shape[1], dtype=torch.float64)
        result = loss.from_vectors(student, eye, targets, weights,
                                   tokens_per_chunk)
    result.backward()
    torch.testing.assert_close(result, values['ibot_loss'], **CLOSE)
    torch.testing.assert_close(student.grad, values['ibot_grad'], **CLOSE)


def test_weights_are_those_of_the_crops():
    """Two crops of four have masks: each counts a quarter."""
    masks = torch.zeros(4, 9, dtype=torch.bool)
    masks[1, :2] = masks[3, 4:] = True
    weights = token_weights(masks)
    torch.testing.assert_close(weights[:2].sum(), weights[2:].sum())
    assert weights.sum() == .5


def some_tokens(tokens=11, prototypes=32, width=8):
    vectors = torch.randn(tokens, width, dtype=torch.float64)
    weight = torch.randn(prototypes, width, dtype=torch.float64)
    targets = torch.rand(tokens, prototypes, dtype=torch.float64)
    weights = torch.rand(tokens, dtype=torch.float64)
    return (vectors.requires_grad_(), weight.requires_grad_(), targets,
            weights)


@pytest.mark.parametrize('tokens_per_chunk', [1, 4, 11, 50])
def test_chunks_are_the_whole(tokens_per_chunk):
    """Also for targets that sum to something else, and a scaled loss."""
    vectors, weight, targets, weights = some_tokens()
    plain = (
        cross_entropy(vectors @ weight.t() / .1, targets, reduction='none') *
        weights).sum()
    chunked = IBOTLoss().from_vectors(vectors, weight, targets, weights,
                                      tokens_per_chunk)
    results = [(loss, *torch.autograd.grad(3 * loss, (vectors, weight)))
               for loss in (chunked, plain)]
    for pair in zip(*results):
        torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('tokens_per_chunk', [None, 4])
def test_no_token_gives_zero_and_zero_gradients(tokens_per_chunk):
    vectors, weight, targets, weights = some_tokens(tokens=0)
    loss = IBOTLoss()
    if tokens_per_chunk is None:
        result = loss(vectors @ weight.t(), targets, weights)
    else:
        result = loss.from_vectors(vectors, weight, targets, weights,
                                   tokens_per_chunk)
    result.backward()
    assert result == 0 and not weight.grad.any()
    assert vectors.grad.shape == vectors.shape


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_halves_are_computed_in_float32(dtype):
    student, targets = torch.randn(5, 16), torch.rand(5, 16).softmax(-1)
    weights = torch.rand(5)
    loss = IBOTLoss()(student.to(dtype), targets, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss,
        IBOTLoss()(student.to(dtype).float(), targets, weights))


def test_chunks_hold_less():
    """The largest tensors that a step makes are those of a chunk."""

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **kwargs or {})
            for each in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(each, torch.Tensor):
                    self.largest = max(self.largest, each.numel())
            return out

    vectors, weight, targets, weights = some_tokens(200, 500, 4)
    with Sizes() as sizes:
        IBOTLoss().from_vectors(vectors, weight, targets, weights,
                                10).backward()
    assert sizes.largest <= 10 * 500


@pytest.mark.parametrize('temp', [0, -1, float('nan'), float('inf')])
def test_bad_temperature(temp):
    with pytest.raises(ValueError, match='student_temp must be > 0, got '):
        IBOTLoss(temp)
