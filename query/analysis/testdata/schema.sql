-- What the cases read. The search_path is public, other.

CREATE SCHEMA other;

CREATE TABLE users (id bigint PRIMARY KEY, handle text NOT NULL, name text, active bool, country char(2));
CREATE TABLE blogs (
    id bigint PRIMARY KEY, slug text, title text, status text, author text, views int, draft bool, tags text[],
    created_at timestamptz
);
CREATE TABLE quizzes (id bigint PRIMARY KEY, title text, topic text);
CREATE TABLE attempts (id bigint PRIMARY KEY, user_id bigint, quiz_id bigint, score numeric, started_at timestamptz);
ALTER TABLE users REPLICA IDENTITY FULL;
ALTER TABLE blogs REPLICA IDENTITY FULL;
ALTER TABLE quizzes REPLICA IDENTITY FULL;
ALTER TABLE attempts REPLICA IDENTITY FULL;

-- A column of every kind of type.
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN folded_name AS text COLLATE folded;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE kinds (
    id int PRIMARY KEY, si smallint, bi bigint, t text, vc varchar(8), v varchar, c char(3), u uuid, b bool, d date, ts timestamp,
    tz timestamptz, n numeric, f float8, m mood, ci text COLLATE folded, dom folded_name, pos positive, arr text[], by bytea,
    j jsonb, "Key" text
);
ALTER TABLE kinds REPLICA IDENTITY FULL;

CREATE TABLE "Order" ("Id" int PRIMARY KEY, "select" text, "a b" text);
ALTER TABLE "Order" REPLICA IDENTITY FULL;
CREATE TABLE other.blogs (id bigint PRIMARY KEY, k text);
CREATE TABLE other.only_here (id bigint PRIMARY KEY, k text);
ALTER TABLE other.blogs REPLICA IDENTITY FULL;
ALTER TABLE other.only_here REPLICA IDENTITY FULL;
CREATE TABLE computed (id int PRIMARY KEY, base int, spare text, twice int GENERATED ALWAYS AS (base * 2) STORED);
ALTER TABLE computed REPLICA IDENTITY FULL;

-- Replica identities.
CREATE TABLE by_key (id int PRIMARY KEY, k text);
CREATE TABLE by_index (id int PRIMARY KEY, k text NOT NULL, v text, CONSTRAINT by_index_k UNIQUE (k));
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_k;
CREATE TABLE by_include (id int, k text, PRIMARY KEY (id) INCLUDE (k));
CREATE TABLE by_deferred (id int PRIMARY KEY DEFERRABLE, k text);
CREATE TABLE by_nothing (id int PRIMARY KEY, k text);
ALTER TABLE by_nothing REPLICA IDENTITY NOTHING;
CREATE TABLE no_key (a int, b int);

-- Partitioned tables: with the key for an identity, with the whole row two levels deep (of which one partition has its columns in
-- another order), with this here and that there, with no partition yet, by an index, with none.
CREATE TABLE parts (id int, year int, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES IN (2024);
CREATE TABLE sales (id bigint, region text, day date, k text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE sales_east PARTITION OF sales FOR VALUES IN ('east');
CREATE TABLE sales_rest PARTITION OF sales DEFAULT PARTITION BY HASH (id);
CREATE TABLE sales_rest_0 PARTITION OF sales_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE sales_rest_1 (gone int, k text, day date, region text NOT NULL, id bigint NOT NULL);
ALTER TABLE sales_rest_1 DROP COLUMN gone;
ALTER TABLE sales_rest ATTACH PARTITION sales_rest_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE sales_east REPLICA IDENTITY FULL;
ALTER TABLE sales_rest_0 REPLICA IDENTITY FULL;
ALTER TABLE sales_rest_1 REPLICA IDENTITY FULL;
CREATE TABLE ledger (id int PRIMARY KEY, k text) PARTITION BY RANGE (id);
ALTER TABLE ledger REPLICA IDENTITY FULL; -- which means nothing
CREATE TABLE ledger_old PARTITION OF ledger FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE "Ledger new" PARTITION OF ledger FOR VALUES FROM (100) TO (MAXVALUE);
ALTER TABLE ledger_old REPLICA IDENTITY FULL;
CREATE TABLE unparted (id int PRIMARY KEY, k text) PARTITION BY HASH (id);
CREATE TABLE by_part_index (id int PRIMARY KEY, k text NOT NULL) PARTITION BY HASH (id);
CREATE TABLE by_part_index_0 PARTITION OF by_part_index FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE UNIQUE INDEX by_part_index_0_k ON by_part_index_0 (k);
ALTER TABLE by_part_index_0 REPLICA IDENTITY USING INDEX by_part_index_0_k;
CREATE TABLE by_part_nothing (id int PRIMARY KEY, k text) PARTITION BY HASH (id);
CREATE TABLE by_part_nothing_0 PARTITION OF by_part_nothing FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE by_part_nothing_0 REPLICA IDENTITY NOTHING;

-- Views.
CREATE VIEW eastern AS SELECT id, k FROM sales_east;
CREATE VIEW published AS SELECT id, title, author FROM blogs WHERE status = 'published';
CREATE VIEW published_by (writer, headline) AS SELECT author, title FROM published;
CREATE VIEW per_author AS SELECT author, count(*) AS n FROM blogs GROUP BY author;
CREATE VIEW latest AS SELECT id, author, created_at FROM blogs ORDER BY created_at DESC, id LIMIT 10;
CREATE VIEW everyone AS SELECT id, handle FROM users UNION ALL SELECT id, title FROM quizzes;
CREATE VIEW dice AS SELECT id, random() AS roll FROM users;

-- What cannot be cached.
CREATE TEMPORARY TABLE scratch (id int PRIMARY KEY);
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
CREATE MATERIALIZED VIEW digest AS SELECT author, count(*) AS n FROM blogs GROUP BY author;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE distant (id int) SERVER far;
CREATE TABLE secret (id int PRIMARY KEY, owner text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE TABLE outsourced (id int) PARTITION BY LIST (id);
CREATE TABLE outsourced_here PARTITION OF outsourced FOR VALUES IN (1);
CREATE FOREIGN TABLE outsourced_far PARTITION OF outsourced FOR VALUES IN (2) SERVER far;
CREATE TABLE hasty (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE hasty_1 PARTITION OF hasty FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE UNLOGGED TABLE hasty_1_1 PARTITION OF hasty_1 FOR VALUES IN (1);
CREATE TABLE guarded (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE guarded_1 PARTITION OF guarded FOR VALUES IN (1);
CREATE TABLE guarded_2 PARTITION OF guarded FOR VALUES IN (2);
ALTER TABLE guarded_1 ENABLE ROW LEVEL SECURITY;
CREATE TABLE private (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE private_1 PARTITION OF private FOR VALUES IN (1);
ALTER TABLE private ENABLE ROW LEVEL SECURITY;
CREATE TEMPORARY TABLE scratches (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TEMPORARY TABLE scratch_1 PARTITION OF scratches FOR VALUES IN (1);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child () INHERITS (parent);
CREATE SEQUENCE counter;

-- Functions that somebody wrote.
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION blog_count() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM blogs';
CREATE FUNCTION blogs_of(text) RETURNS SETOF blogs STABLE LANGUAGE sql AS 'SELECT * FROM blogs WHERE author = $1';
CREATE FUNCTION touch() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION full_name(users) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1.name';
CREATE FUNCTION peek(users) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM blogs WHERE author = $1.handle';
CREATE FUNCTION add_views(bigint, int) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT $1 + $2 + count(*) FROM blogs';
CREATE AGGREGATE odd_sum(int) (SFUNC = add_views, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION near(int, int) RETURNS bool STABLE LANGUAGE sql AS 'SELECT $1 - $2 < (SELECT count(*) FROM quizzes)';
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = near);
CREATE FUNCTION other.same_start(text, text) RETURNS bool IMMUTABLE LANGUAGE sql AS $$ SELECT left($1, 1) OPERATOR(pg_catalog.=) left($2, 1) $$;
CREATE OPERATOR other.= (LEFTARG = text, RIGHTARG = text, FUNCTION = other.same_start);
