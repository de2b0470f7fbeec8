"""The HTTP session that batches are sent by: it tells the causes that the library keeps."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Final

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from service.observability.answers import beginning_of
from service.observability.collector import Collector, root_of
from service.observability.partial import Partial, partial_success

__all__ = ["session"]

SECRET_CHARACTERS: Final = 4
"""What is shorter guards nothing, and is found in any words."""

_OPEN: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "user-agent",
    )
)
"""The headers of a request that hold no secret; any other may."""


def session(collector: Collector) -> Session:
    """Return a session that tells `collector` how its requests end."""
    made = Session()
    made.headers["Accept-Encoding"] = "identity"  # its beginning is read, as it comes
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Witness(collector))
    return made


class _Witness(HTTPAdapter):
    """Tells what became of each request that did not, or not wholly, succeed."""

    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._collector = collector

    def send(  # noqa: PLR0913, PLR0917 - the signature of the library
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above; the body is read here
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 - as above
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        self._collector.secrets = set(_secrets(request.headers))
        try:
            response = super().send(request, True, timeout, verify, cert, proxies)  # noqa: FBT003 - as above
            body = beginning_of(response.raw)
            response.raw = BytesIO(body)
        except RequestException as error:
            self._collector.hear(root_of(error))
            raise
        if not response.ok:
            self._collector.hear(f"HTTP {response.status_code} {response.reason}")
        self._collector.answered(partial_success(body) if response.ok else Partial())
        return response


def _secrets(headers: Mapping[str, str | bytes]) -> Iterator[str]:
    """Yield what headers carry, and of a scheme with its token the token alone, too."""
    for name, held in headers.items():
        if name.lower() not in _OPEN:
            value = held if isinstance(held, str) else held.decode("latin-1")
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= SECRET_CHARACTERS:
                    yield secret
