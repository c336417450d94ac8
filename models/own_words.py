"""What another program said of its trouble, kept apart from our sentence about it.

An object store tells hosts, buckets and whose key it was. The log and the command line have all of it,
whoever asks the service has our sentence alone.
"""

import re

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z]+)*)")
_OWN_WORDS = re.compile(r" «[^»]*»")


def in_own_words(error: Exception) -> str:
    """To be put behind a sentence: the HTTP status, where it was one, and the first line of what was said."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    status = f" ({found[1]})" if (found := _STATUS.search(first)) else ""
    return f"{status} «{first.replace('«', '<').replace('»', '>')}»"


def without_own_words(text: str) -> str:
    return _OWN_WORDS.sub("", text)
