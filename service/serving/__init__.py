"""Serves an app over HTTP/1.1: hypercorn and quart-trio, with their faults cured.

Hypercorn speaks HTTP and runs the app; the connection it does so on is ours. Each cure stands
where the fault would be:

- `server`: who may come in, for how long, and how all of them leave.
- `connection`: what a connection may cost in time.
- `http1`: when hypercorn starts the app, and what is said without one.
- `handlers` and `exchange`: how few tasks and messages a request takes through hypercorn and Quart.
- `answer`: what an answer is on the wire.
- `parser`: which bytes of a client count.
- `limits`: the numbers.
"""

from service.serving.exchange import WholeRequest
from service.serving.limits import Limits
from service.serving.listening import listen
from service.serving.server import serve

__all__ = ["Limits", "WholeRequest", "listen", "serve"]
