"""A port that cannot be opened is explained in one line."""

import socket

import pytest
import trio

from service.core.errors import ConfigError
from service.serving import Limits, listen


def test_a_taken_port_is_named() -> None:
    """The message names the setting, what it held and what to do."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^PORT: {port} on 127.0.0.1 is taken"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "a" * 300, "\ud800"])
def test_a_wrong_host_is_named(host: str) -> None:
    """A name that does not resolve and an address of another machine are the same fault."""
    with pytest.raises(ConfigError, match=r"^HOST: .* use 0\.0\.0\.0, :: or") as refusal:
        listen(host, 0)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_wrong_port_is_named(port: int) -> None:
    """A number that is no port is refused as one."""
    with pytest.raises(ConfigError, match=f"^PORT: {port} is not a port; choose one from 0"):
        listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["::", "0.0.0.0", ""])  # noqa: S104 - what is tested
async def test_every_interface_includes_the_loopback(host: str) -> None:
    """A client of IPv4 reaches each way to say "every interface"."""
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("the machine has no IPv6")
    with listen(host, 0) as listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        await client.aclose()


def test_the_room_must_hold_the_largest_body() -> None:
    """Otherwise the largest body would wait for ever."""
    with pytest.raises(ValueError, match="large_bodies_bytes: 999 is less than one body_bytes"):
        Limits(body_bytes=1000, large_bodies_bytes=999)
