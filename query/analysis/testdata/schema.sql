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

-- Views.
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
CREATE TABLE parts (id int, year int, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES IN (2024);
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
