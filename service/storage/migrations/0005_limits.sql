-- The queue is read job by job: a job's own stretch of runs_waiting is its line.
DROP INDEX runs_due;

-- What is at work, what a status lists: all but the many that ended well.
DROP INDEX runs_running;
CREATE INDEX runs_by_status ON runs (status, seq) WHERE status <> 'ok';

-- When attempts began, of jobs that may begin only so many in a time.
CREATE TABLE rated_starts (
    job_id TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE INDEX rated_starts_of_job ON rated_starts (job_id, started_at);
