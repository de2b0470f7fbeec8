"""The HTTP session that batches are sent by: it tells the causes that the library keeps."""

from io import BytesIO

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from service.observability.answers import beginning_of
from service.observability.collector import Collector, root_of
from service.observability.partial import Partial, partial_success

__all__ = ["session"]


def session(collector: Collector) -> Session:
    """Return a session that tells `collector` how its requests end."""
    made = Session()
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
