"""Parts of names with forward slashes, as folders, archives and tables give them; `pathlib` for paths of this machine."""

from __future__ import annotations

import posixpath


def ending_of(name: str) -> str:
    """Suffix in lower case, with its dot; '' without one.

    >>> ending_of("a.b/c"), ending_of("a/C.PNG"), ending_of("a/.png")
    ('', '.png', '')
    """
    return posixpath.splitext(name)[1].lower()


def without_ending(name: str) -> str:
    """The name with its folders, without its suffix.

    >>> without_ending("a.b/c"), without_ending("a/C.PNG")
    ('a.b/c', 'a/C')
    """
    return posixpath.splitext(name)[0]


def stem_of(name: str) -> str:
    """The name without its folders and its suffix.

    >>> stem_of("a.b/c"), stem_of("a/C.PNG")
    ('c', 'C')
    """
    return posixpath.splitext(posixpath.basename(name))[0]


def word_table(text: str) -> tuple[str, ...]:
    """The words of a text, in order: a constant of many words is read more easily as text than as a line for each.

    >>> word_table("a b c")
    ('a', 'b', 'c')
    """
    return tuple(text.split())
