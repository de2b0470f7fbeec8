"""The ceiling of the stack: a Quart-trio app on hypercorn that answers 202 and stores nothing."""

import sys
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config
from quart import Response, request
from quart_trio import QuartTrio

app = QuartTrio("bare", static_folder=None)


@app.post("/webhook")
async def webhook() -> Response:
    await request.get_data()
    body = '{"status":"accepted","jobId":"echo"}'
    return Response(body, 202, {"Content-Type": "application/json"})


def main() -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    trio.run(partial(hypercorn.trio.serve, app, config))


if __name__ == "__main__":
    main()
