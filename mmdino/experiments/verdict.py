"""A verdict in words on what a training has gained."""
import math

FEW_IMAGES, FEW_VIEWS, FEW_PIXELS = 20000, 500000, 96


def error_of(percent: float, count: int) -> float:
    """Compute the standard error of an accuracy, in percentage points.

    Args:
        percent: The accuracy in percent.
        count: Number of images that it was measured on.
    """
    share = percent / 100
    return 100 * math.sqrt(max(share * (1 - share), 1e-9) / count)


def verdict(top1: float | None,
            pixels: float | None,
            untrained: float | None,
            queries: int,
            images: int,
            epochs: int,
            size: int,
            own_data: bool = True) -> str:
    """Describe whether a training helped, why, and what to do next.

    Args:
        top1: k-NN accuracy of the trained network in percent; None without
            classes.
        pixels: k-NN accuracy of raw pixels in percent, if it was measured.
        untrained: k-NN accuracy of the untrained network in percent, if it
            was measured.
        queries: Number of images that they were measured on.
        images: Number of images of the training.
        epochs: Number of epochs of the training.
        size: Side of the views in pixels.
        own_data: Whether the images are the user's own.
    """
    advice = _next(own_data)
    if top1 is None:
        return ('Without classes there is nothing to score: look at '
                f'nearest.png. {_why(images, epochs, size)} {advice}').strip()
    rivals = {'raw pixels': pixels, 'the untrained network': untrained}
    rivals = {name: v for name, v in rivals.items() if v is not None}
    # About the 95 % bound of the difference of two accuracies.
    margin = 2 * math.sqrt(2) * error_of(top1, queries)
    parts = [
        f'{name} ({value:.1f}): {_compare(top1 - value, margin)}'
        for name, value in rivals.items()
    ]
    head = (f'k-NN {top1:.1f} % against ' + ', '.join(parts) +
            f'. On {queries} queries, differences below {margin:.1f} points '
            'may be chance.')
    passed = [name for name, v in rivals.items() if top1 - v > margin]
    if len(passed) == len(rivals):
        return f'{head} The training has improved the features. {advice}'
    failed = 'has not improved the features'
    if passed:
        other, = rivals.keys() - passed
        failed = f'has improved on {passed[0]} but has not improved on {other}'
    return (f'{head} The training {failed}. {_why(images, epochs, size)} '
            f'{advice}').strip()


def _compare(gain: float, margin: float) -> str:
    if abs(gain) <= margin:
        return 'no better' if gain <= 0 else 'hardly better'
    return f'{abs(gain):.1f} points {"better" if gain > 0 else "worse"}'


def _why(images: int, epochs: int, size: int) -> str:
    """Describe likely reasons why a training has not helped, or ''."""
    causes: list[str] = []
    if images < FEW_IMAGES:
        causes.append(f'{images:,} images are few (the published recipes had '
                      '1.3 million)')
    if images * epochs < FEW_VIEWS:
        causes.append(f'{epochs} epochs of them are {images * epochs:,} '
                      'samples, a short training')
    if size < FEW_PIXELS:
        causes.append(f'views of {size} px show no fine detail')
    return f'Possible reasons: {"; ".join(causes)}.' if causes else ''


def _next(own_data: bool) -> str:
    """Describe what to do next."""
    if not own_data:
        return ('Next: try --data DIR with images of your own, or a recipe of '
                'configs/ on ImageNet.')
    return ('Next: --weights FILE_OR_NAME evaluates published weights on '
            'these images in a minute; with a few thousand images they are '
            'usually better than any training from random weights. Else use '
            'more images, or three times as many --epochs.')
