"""What the connections of one server share."""

from collections.abc import Callable

from msgspec import Struct

from nearnorm.service.http.connection.backpressure import Backpressure
from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.fast_path import Host
from nearnorm.service.http.connection.watch import Watch


class Shared(Struct):
    """`host` answers the requests of its path, unless they have to pass `asgi_alone`.

    `count_closed` hears why a connection was hung up on.
    """

    bounds: Bounds
    watch: Watch
    host: Host | None = None
    asgi_alone: bool = False
    backpressure: Backpressure | None = None
    count_closed: Callable[[str], None] = lambda _: None
