"""Opens the port, or says in one line why not."""

import errno
import socket

from service.core.errors import ConfigError

__all__ = ["listen"]

_BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port` (0 picks a free port).

    Raises ConfigError when that cannot be. Clients may connect from here on and wait for `serve`.
    """
    if port not in range(2**16):
        raise ConfigError(f"PORT: {port} is not a port; choose one from 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(
            (str(address[0]), int(address[1])),
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except (OSError, UnicodeError) as error:
        raise ConfigError(_explain(host, port, error)) from error


def _explain(host: str, port: int, error: Exception) -> str:
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return f"PORT: {port} on {host} is taken by another process; choose a free port"
        case PermissionError():
            return f"PORT: {port} may not be opened by this user; choose one from 1024 to 65535"
        case _:
            return (
                f"HOST: {host!r} is not an address of this machine ({error}); "
                "use 0.0.0.0, :: or one of its own addresses"
            )
