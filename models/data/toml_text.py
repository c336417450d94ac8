"""Texts and keys as TOML spells them."""


def toml_text(text: str) -> str:
    """A basic string: anything that a file can hold."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def quoted(name: str) -> str:
    """A name as a key: bare where it can be."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml_text(name)
