"""Suggestions for misspelt names."""
import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: similar ones.

    Args:
        name: As it was given.
        known: The names that there are.

    Returns:
        ``" Did you mean 'dino_vit-s16'?"``, or '' if none is close.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    if not close:  # of another case, or a part of it
        folded = {other.lower(): other for other in known}
        close = [
            folded[other]
            for other in difflib.get_close_matches(name.lower(), folded, 1)
        ]
    return f' Did you mean {close[0]!r}?' if close else ''
