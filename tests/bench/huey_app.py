"""The peer: FastAPI that puts a task in a huey queue on SQLite, durably, and huey's consumer.

Taken from neither project's pages: it is what their users write. `python -m tests.bench.huey_app
web PORT FILE` serves, `… work FILE` performs.
"""

import sys

import uvicorn
from fastapi import FastAPI
from huey import SqliteHuey

WORKERS = 8


def main() -> None:
    role, *_, file = sys.argv[1:]
    queue = SqliteHuey("peer", filename=file, fsync=True, journal_mode="wal")
    noop = queue.task(retries=3, name="noop")(len)
    if role == "work":
        queue.create_consumer(workers=WORKERS, worker_type="thread").run()
        return

    def webhook(body: dict[str, object]) -> dict[str, object]:
        noop(body["payload"])
        return {"status": "accepted", "jobId": body["jobId"]}

    app = FastAPI()
    app.add_api_route("/webhook", webhook, methods=["POST"], status_code=202)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")


if __name__ == "__main__":
    main()
