"""Reading a file that somebody else wrote: a plain one of bounded size, and never a wait.

A link may point anywhere, a FIFO or a socket blocks whoever opens it, a device never ends.
"""

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_PLAIN_FILE = "it is no plain file"


def read_plain_file(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError; its strerror says why."""
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a name that no file has
        raise OSError(errno.EINVAL, str(error)) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise OSError(error.errno, _NO_PLAIN_FILE) from None
        raise
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, _NO_PLAIN_FILE)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(most + 1) if facts.st_size <= most else b""
    finally:
        os.close(descriptor)
    if facts.st_size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes")
    return content
