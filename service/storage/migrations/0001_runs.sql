-- Runs, and the deliveries that asked for them. Instants are microseconds since 1970 in UTC.
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'ok', 'error', 'cancelled')),
    "trigger" TEXT NOT NULL CHECK ("trigger" IN ('webhook', 'cron', 'manual')),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts INTEGER NOT NULL CHECK (max_attempts >= 1),
    crashes INTEGER NOT NULL DEFAULT 0,
    claim INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    delivery_id TEXT,
    cron_id TEXT,
    tick INTEGER,
    trace_context TEXT,
    result TEXT,
    CHECK ((cron_id IS NULL) = (tick IS NULL)),
    CHECK ((finished_at IS NULL) = (status IN ('queued', 'running')))
) STRICT;

CREATE INDEX runs_due ON runs (due_at, seq) WHERE status = 'queued';
CREATE INDEX runs_running ON runs (seq) WHERE status = 'running';
CREATE INDEX runs_unsuccessful ON runs (job_id, seq) WHERE status IN ('error', 'cancelled');
CREATE INDEX runs_of_job ON runs (job_id, seq);
CREATE UNIQUE INDEX runs_of_tick ON runs (cron_id, tick) WHERE cron_id IS NOT NULL;

-- Apart from the run: a change of state rewrites its row, and a payload may have 25 MB.
CREATE TABLE payloads (
    seq INTEGER PRIMARY KEY, -- the run's
    body TEXT NOT NULL
) STRICT;

CREATE TABLE deliveries (
    key TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_by_age ON deliveries (seen_at);

-- One row that is written to find out whether the disk takes writes.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), written_at INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
