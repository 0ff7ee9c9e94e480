-- +goose Up

-- Shapes ride the log: a row here reaches the invalidator in order with the data that it is about. Each change must
-- carry the whole old row, hence the replica identity.
CREATE TABLE freshet.shapes (
    schema_name   text        NOT NULL,
    table_name    text        NOT NULL,
    columns       text[]      NOT NULL,
    ready         boolean     NOT NULL DEFAULT false,
    registered_at timestamptz NOT NULL DEFAULT now(),
    renewed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, table_name, columns)
);
ALTER TABLE freshet.shapes REPLICA IDENTITY FULL;

COMMENT ON TABLE  freshet.shapes IS 'What the invalidator matches changes against: a table and the columns that queries pin by equality.';
COMMENT ON COLUMN freshet.shapes.schema_name   IS 'Schema of the table.';
COMMENT ON COLUMN freshet.shapes.table_name    IS 'Name of the table.';
COMMENT ON COLUMN freshet.shapes.columns       IS 'The pinned columns, sorted; empty for a dependency on the whole table.';
COMMENT ON COLUMN freshet.shapes.ready         IS 'Every transaction that was in progress when the shape was registered has ended: its changes are all published.';
COMMENT ON COLUMN freshet.shapes.registered_at IS 'When the shape was first registered.';
COMMENT ON COLUMN freshet.shapes.renewed_at    IS 'When a process last said that it still needs the shape.';

CREATE TABLE freshet.continuity (
    source            text        PRIMARY KEY,
    session           text        NOT NULL,
    previous          text        NOT NULL DEFAULT '',
    system_identifier text        NOT NULL,
    timeline          int         NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE  freshet.continuity IS 'What cdc knew when it last started: whether the slot and the stream still join up is decided by comparing with this.';
COMMENT ON COLUMN freshet.continuity.source            IS 'Name of the source, as in the subjects of its stream.';
COMMENT ON COLUMN freshet.continuity.session           IS 'Identifies the unbroken run of the stream that cdc is writing.';
COMMENT ON COLUMN freshet.continuity.previous          IS 'The session before this one, or empty.';
COMMENT ON COLUMN freshet.continuity.system_identifier IS 'Identity of the Postgres cluster, as IDENTIFY_SYSTEM reports it.';
COMMENT ON COLUMN freshet.continuity.timeline          IS 'Timeline of the cluster, as IDENTIFY_SYSTEM reports it.';
COMMENT ON COLUMN freshet.continuity.updated_at        IS 'When the row was last written.';

-- +goose Down

DROP TABLE freshet.continuity;
DROP TABLE freshet.shapes;
