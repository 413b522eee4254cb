"""A verdict in words on what a training has gained."""
import math

FEW_IMAGES, FEW_VIEWS, FEW_PIXELS = 20000, 500000, 96


def error_of(percent: float, count: int) -> float:
    """Compute the standard error in percent of an accuracy."""
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
        top1: k-NN accuracy in percent of the trained network; None without
            classes.
        pixels, untrained: Those of raw pixels and of the untrained network.
        queries: How many they were measured on.
        images: That it learnt from.
        epochs: How often it saw each.
        size: Pixels a side of its views.
        own_data: Whether the images are the user's.
    """
    advice = _next(own_data)
    if top1 is None:
        return ('Without classes there is nothing to score: look at '
                f'nearest.png. {_why(images, epochs, size)} {advice}').strip()
    rivals = {'raw pixels': pixels, 'the untrained network': untrained}
    rivals = {name: v for name, v in rivals.items() if v is not None}
    # Of two accuracies on the same queries, at about 95 %.
    margin = 2 * math.sqrt(2) * error_of(top1, queries)
    parts = [
        f'{name} ({value:.1f}): {_compare(top1 - value, margin)}'
        for name, value in rivals.items()
    ]
    head = (f'k-NN {top1:.1f} % against ' + ', '.join(parts) +
            f'. On {queries} queries, differences below {margin:.1f} say '
            'little.')
    if all(top1 - value > margin for value in rivals.values()):
        return f'{head} Training has given features worth having. {advice}'
    return (f'{head} This training has not given features that are better '
            f'than none. {_why(images, epochs, size)} {advice}').strip()


def _compare(gain: float, margin: float) -> str:
    if abs(gain) <= margin:
        return 'no better' if gain <= 0 else 'hardly better'
    return f'{abs(gain):.1f} points {"better" if gain > 0 else "worse"}'


def _why(images: int, epochs: int, size: int) -> str:
    """Describe what is likely missing."""
    causes: list[str] = []
    if images < FEW_IMAGES:
        causes.append(f'{images:,} images are few (the published recipes had '
                      '1.3 million)')
    if images * epochs < FEW_VIEWS:
        causes.append(f'{epochs} epochs of them are {images * epochs:,} looks,'
                      ' a short training')
    if size < FEW_PIXELS:
        causes.append(f'views of {size} px show no fine detail')
    return f'Why that may be: {"; ".join(causes)}.' if causes else ''


def _next(own_data: bool) -> str:
    """Describe what to do."""
    if not own_data:
        return ('Next: --data DIR with pictures of yours, or a recipe of '
                'configs/ on ImageNet.')
    return ('Next: --weights FILE_OR_NAME shows in a minute what published '
            'weights give on these images, for a few thousand usually more '
            'than any training from nothing; else more images, or --epochs '
            'with three times as many.')
