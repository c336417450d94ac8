"""What answers call the places of this machine: whoever asks has no use for a path, and the log keeps it."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from nearnorm.models.own_words import without_own_words
from nearnorm.models.store.folder import VERSION
from nearnorm.service.settings import Settings

HOME, STORE, LOG = "the service's home", "the model store", "the activation log"
_PACKAGE = Path(__file__).parents[1]
_BEFORE, _BEHIND = r"(?<![\w./~-])", r"(?![\w-])"


class NamedPlaces:
    """Of one service, or one worker."""

    def __init__(self, settings: Settings) -> None:
        home = settings.home
        self._names = {
            spelt: name
            for place, name in (
                (str(Path(sys.prefix)), "python"),
                (str(_PACKAGE), "nearnorm"),
                (str(home), HOME),
                (str(home / "copies"), STORE),
                (settings.model_store or str(home / "models"), STORE),
            )
            for spelt in _spellings(place)
        }
        longest_first = sorted(self._names, key=len, reverse=True)
        places = "|".join(re.escape(place) + ("" if "/" in place else "(?=/)") for place in longest_first)
        self._place = re.compile(rf"{_BEFORE}({places}){_BEHIND}((?:/[\w.+=-]*\w)*)/?")

    def named(self, text: str, files: Iterable[str] = ()) -> str:
        """`text` with names where it has paths, and without what an object store said; `files` are called by
        the last part of theirs, and those that a pattern stands for by what is below its folder."""
        text = without_own_words(text)
        spelt = {spelling for file in files for spelling in _spellings(file)}
        for folder in sorted(map(_folder_of_pattern, spelt), key=len, reverse=True):
            text = re.sub(f"{_BEFORE}{re.escape(folder)}", "", text) if folder else text
        for file in sorted(spelt, key=len, reverse=True):
            text = re.sub(f"{_BEFORE}{re.escape(file)}{_BEHIND}", _literally(last_part(file)), text)
        return self._place.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        name, within = self._names[found[1]], found[2].lstrip("/")
        if name == STORE:
            return _in_store(within)
        if name == HOME:
            return f"{within} in {HOME}" if within else HOME
        return f"{name}/{within}"


def last_part(path: str) -> str:
    """How a file is called, wherever it lies."""
    return path.rstrip("/").rpartition("/")[2]


def _folder_of_pattern(file: str) -> str:
    """Up to the / before the first character that stands for others; empty for a plain file."""
    plain = re.split(r"[*?[]", file, maxsplit=1)
    return plain[0].rpartition("/")[0] + "/" if len(plain) > 1 else ""


def _literally(text: str) -> str:
    """As what `re.sub` puts in a place."""
    return text.replace("\\", r"\\")


def _spellings(place: str) -> set[str]:
    if "://" in place:
        return {place}
    return {place, str(Path(place).absolute()), str(Path(place).resolve())}


def _in_store(within: str) -> str:
    folder, _, rest = within.partition("/")
    version, _, file = rest.partition("/")
    if folder == "versions" and VERSION.fullmatch(version):
        return f"{file} of version {version}" if file else f"version {version}"
    if folder == "activations":
        return f"entry {rest.removesuffix('.json').lstrip('0')} of {LOG}" if rest else LOG
    return STORE
