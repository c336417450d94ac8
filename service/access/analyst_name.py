"""Names of analysts, spelt in one way, so that who is in quarantine labels under no spelling of the name."""

import re
import unicodedata

MOST_CHARACTERS = 200

# Fillers and selectors of variants are not seen, like the format characters (joiners, marks of direction).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def spellings(name: str) -> list[str]:
    """A name as an operator gives it, and as labels carry it: older releases stored it as it was sent."""
    try:
        return list(dict.fromkeys((name, normalised(name))))
    except ValueError:
        return [name]


def whose(named: str | None, signed_in: str | None, key: str) -> str:
    """The analyst whose words a request holds: as it names them, who is signed in, or the API key.

    Raises ValueError for a name that is none, and for another than that of who is signed in: a key may speak
    for a team, a session is one person.
    """
    if named is None:
        return key if signed_in is None else signed_in
    name = normalised(named)
    if signed_in is not None and name != signed_in:
        raise ValueError(f"{signed_in!r} is signed in: leave the name out, or sign in by the other one")
    return name


def normalised(name: str) -> str:
    """NFKC, without characters that are not seen, one space where there were several, none at the ends.

    Raises ValueError for a name of which nothing is left, with a control character, or too long.
    """
    if name.isascii() and name.isprintable() and "  " not in name and name == name.strip():
        spelt = name  # nearly all
    else:
        seen = "".join(c for c in _UNSEEN.sub("", name) if unicodedata.category(c) != "Cf")
        spelt = " ".join(unicodedata.normalize("NFKC", seen).split())
    if not spelt:
        raise ValueError("a name needs a character that can be seen")
    if any(unicodedata.category(character) == "Cc" for character in spelt):
        raise ValueError("a name has no control characters")
    if len(spelt) > MOST_CHARACTERS:
        raise ValueError(f"a name has at most {MOST_CHARACTERS} characters")
    return spelt
