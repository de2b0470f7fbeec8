-- Jobs whose runs wait until they are resumed; the empty id stands for every job.
CREATE TABLE paused_jobs (
    job_id TEXT PRIMARY KEY,
    paused_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What waits, job by job: to pass over the paused ones, and to tell how old each queue is.
CREATE INDEX runs_waiting ON runs (job_id, due_at, seq) WHERE status = 'queued';

-- Attempts that did not end their run: the one that did is told by the run itself.
CREATE TABLE past_attempts (
    run INTEGER NOT NULL, -- its seq
    claim INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    ending TEXT NOT NULL,
    message TEXT,
    PRIMARY KEY (run, claim)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER past_attempts_go_with_their_run AFTER DELETE ON runs BEGIN
    DELETE FROM past_attempts WHERE run = old.seq;
END;
