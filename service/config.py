"""What this service does, and when: the file to edit.

Write a task: an ordinary function with a name for the world.

    @attrs.frozen
    class Greet:
        name: str

    @task("greet", timeout=30, retries=3)
    async def greet(ctx: Context, payload: Greet) -> dict[str, str]:
        ctx.log.info("greeting", name=payload.name)
        return {"greeting": f"Hello, {payload.name}!"}

It runs whenever ``POST /webhook`` says ``{"jobId": "greet", "payload": {"name": "Ada"}}``. To run
it by the clock too, add a line to CRON_JOBS:

    CronJob(
        id="morning",
        schedule="0 9 * * mon-fri",
        job_id="greet",
        payload={"name": "team"},
        timezone="Europe/Berlin",
    )

``service check`` tells at once whether all of it fits. Tasks may live in other modules, as long as
this one imports them; JOBS_MODULE names another module to take this one's place.
"""

from service import CronJob

CRON_JOBS = [
    CronJob(id="heartbeat", schedule="*/5 * * * *", job_id="heartbeat"),
]
