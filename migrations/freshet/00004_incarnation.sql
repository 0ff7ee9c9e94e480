-- +goose Up

-- Crash recovery empties an unlogged table, as does a promotion, and the recovery of a copy of the storage; a restart in order does not.
-- So a row that is gone says that what was visible may be lost: commits of synchronous_commit = off can be seen before they are safe.
CREATE UNLOGGED TABLE freshet.incarnation (
    source     text        PRIMARY KEY,
    session    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE  freshet.incarnation IS 'Which logs the server has been followed by without a break since it last recovered from a crash.';
COMMENT ON COLUMN freshet.incarnation.source  IS 'Name of the log.';
COMMENT ON COLUMN freshet.incarnation.session IS 'The cdc session that published the reset with which the log began.';

-- +goose Down

DROP TABLE freshet.incarnation;
