"""Suggestions for misspelt names, and names in messages."""
import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name.

    Args:
        name: The unknown name.
        known: All valid names.

    Returns:
        ``" Did you mean 'dino_vit-s16'?"``, or '' if no name is similar.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    if not close:  # upper and lower case may differ
        folded = {other.lower(): other for other in known}
        close = [
            folded[other]
            for other in difflib.get_close_matches(name.lower(), folded, 1)
        ]
    return f' Did you mean {close[0]!r}?' if close else ''


def printable(name: object) -> str:
    """Return a name as text that a log can write.

    Python holds the bytes of a file name that are not UTF-8 as lone
    surrogates, which no file and screen takes; they become ``\\udcff``.
    """
    return str(name).encode(errors='backslashreplace').decode()
