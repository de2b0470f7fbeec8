-- The queue is read job by job: a job's own stretch of runs_waiting is its line.
DROP INDEX runs_due;
DROP INDEX runs_running;
CREATE INDEX runs_running ON runs (job_id, seq) WHERE status = 'running';

-- When attempts began, of jobs that may begin only so many in a time.
CREATE TABLE rated_starts (
    job_id TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE INDEX rated_starts_of_job ON rated_starts (job_id, started_at);
