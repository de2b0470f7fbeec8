-- What cron jobs meant when, how far each is accounted for, and how every tick ended.
CREATE TABLE cron_jobs (
    id TEXT PRIMARY KEY,
    schedule TEXT NOT NULL,
    timezone TEXT NOT NULL,
    since INTEGER NOT NULL, -- ticks after it are of this schedule and zone
    watermark INTEGER NOT NULL CHECK (watermark >= since) -- ticks up to it are accounted for
) STRICT, WITHOUT ROWID;

-- Earlier meanings of a job: changed, or removed from the configuration.
CREATE TABLE past_cron_jobs (
    id TEXT NOT NULL,
    schedule TEXT NOT NULL,
    timezone TEXT NOT NULL,
    since INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    PRIMARY KEY (id, since)
) STRICT, WITHOUT ROWID;

CREATE TABLE ticks (
    cron_id TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL CHECK (last >= first),
    count INTEGER NOT NULL CHECK (count >= 1),
    outcome TEXT NOT NULL CHECK (outcome IN ('ran', 'skipped', 'missed', 'coalesced')),
    run_id TEXT CHECK ((run_id IS NULL) = (outcome <> 'ran')),
    PRIMARY KEY (cron_id, first)
) STRICT, WITHOUT ROWID;

CREATE INDEX ticks_by_age ON ticks (last);
CREATE INDEX runs_of_cron_unfinished ON runs (cron_id)
    WHERE cron_id IS NOT NULL AND status IN ('queued', 'running');
