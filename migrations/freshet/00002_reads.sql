-- +goose Up

-- A shape has a row for each set of columns that queries read: the rows of two versions of an application stand side by side, each
-- is renewed and retired by itself, and what is matched is their union.
ALTER TABLE freshet.shapes ADD COLUMN reads text[] NOT NULL DEFAULT '{*}';
ALTER TABLE freshet.shapes DROP CONSTRAINT shapes_pkey;
ALTER TABLE freshet.shapes ADD PRIMARY KEY (schema_name, table_name, columns, reads);

COMMENT ON COLUMN freshet.shapes.reads IS 'The columns whose values can matter, sorted: an update that changes none of them clears nothing. {*} is any.';

CREATE TABLE freshet.definitions (
    version     int         PRIMARY KEY,
    fingerprint text        NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE  freshet.definitions IS 'What the definitions of tables, views and functions were when they were last compared: only used where no event trigger reports a change of them.';
COMMENT ON COLUMN freshet.definitions.version     IS 'How the fingerprint is made.';
COMMENT ON COLUMN freshet.definitions.fingerprint IS 'Hash of the definitions.';
COMMENT ON COLUMN freshet.definitions.updated_at  IS 'When they were found to be others.';

-- +goose Down

DROP TABLE freshet.definitions;
DELETE FROM freshet.shapes a USING freshet.shapes b
    WHERE a.schema_name = b.schema_name AND a.table_name = b.table_name AND a.columns = b.columns AND a.reads > b.reads;
ALTER TABLE freshet.shapes DROP CONSTRAINT shapes_pkey;
ALTER TABLE freshet.shapes DROP COLUMN reads;
ALTER TABLE freshet.shapes ADD PRIMARY KEY (schema_name, table_name, columns);
