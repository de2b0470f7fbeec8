-- What finished steps of unfinished runs returned, so that a later attempt need not do them again.
CREATE TABLE steps (
    run INTEGER NOT NULL, -- its seq
    name TEXT NOT NULL,
    result TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) STRICT;

CREATE TRIGGER steps_go_with_their_run AFTER DELETE ON runs BEGIN
    DELETE FROM steps WHERE run = old.seq;
END;
