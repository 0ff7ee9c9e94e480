package query_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query"
	"freshet/query/analysis"
)

// planned plans a read of the statement with these depends lines, in a file where depends is line 8 and the statement line 9.
func planned(t *testing.T, c *analysis.Catalog, depends, sql string) (*query.Plan, error) {
	t.Helper()
	head := "-- name: t\n-- route: GET /{id}\n-- param: id bigint\n-- param: s text\n-- param: d date\n-- param: u uuid\n-- result: one\n"
	if depends == "" {
		depends = "-- nothing"
	} else {
		depends = "-- depends: " + depends
	}
	q, err := query.Parse("t.sql", []byte(head+depends+"\n"+sql))
	require.NoError(t, err)
	return q.Plan(c)
}

const usesAll = "SELECT :id, :s, :d, :u AS u"

func catalogOf(t *testing.T, ddl string) *analysis.Catalog {
	t.Helper()
	db := testenv.Postgres(t)
	db.Exec(t, ddl)
	c, err := analysis.ReadCatalog(t.Context(), db.Conn(t))
	require.NoError(t, err)
	return c
}

// A dependency through which no change would arrive, or whose pins compare as text what Postgres compares as values, is
// refused before anything is cached under it.
func TestPlanChecksDependencies(t *testing.T) {
	c := catalogOf(t, `
		CREATE TYPE mood AS ENUM ('good', 'bad');
		CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE blogs (id bigint PRIMARY KEY, n int, title text, v varchar(9), price numeric, on_ boolean, at timestamptz, day date,
			u uuid, c char(3), m mood, folded text COLLATE blind, tags text[], twice int GENERATED ALWAYS AS (n * 2) STORED);
		CREATE SCHEMA other; CREATE TABLE other.things (id int PRIMARY KEY); CREATE TABLE "Odd" ("Id" int PRIMARY KEY);
		CREATE VIEW a_view AS SELECT * FROM blogs; CREATE MATERIALIZED VIEW a_copy AS SELECT * FROM blogs;
		CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
		CREATE TABLE parent (id int); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
		CREATE TABLE anonymous (id int);
		CREATE TABLE parts (id int PRIMARY KEY, k text) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts DEFAULT;
		CREATE TABLE keyless (id int) PARTITION BY LIST (id);
		CREATE TABLE nameless (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE nobody PARTITION OF nameless DEFAULT;
		ALTER TABLE nobody REPLICA IDENTITY NOTHING; ALTER TABLE keyless REPLICA IDENTITY FULL; ALTER TABLE parts REPLICA IDENTITY FULL;
		CREATE TABLE keyless_all PARTITION OF keyless DEFAULT; ALTER TABLE keyless_all REPLICA IDENTITY FULL`)
	for depends, want := range map[string]string{
		`blogs(id), blogs(n = :id), blogs(title = :s), blogs(v = :s), blogs(day = :d), blogs(u = :u)`: "",
		`blogs(m = 'good'), blogs(m = :s), blogs(on_ = true), blogs(id = 7), other.things(id)`:        "",
		`"Odd"("Id" = :id), public.blogs(), child(id)`:                                                "",
		`parts(), part(k = :s)`: "",
		`blog()`:                "depends: there is no table blog",
		`nowhere.blogs()`:       "depends: there is no table nowhere.blogs",
		`things()`:              "depends: there is no table things",
		`Odd()`:                 "depends: there is no table odd",
		`blogs(titel=:s)`:       `depends: the table blogs has no column titel; did you mean "title"?`,
		`blogs(price = 5)`: "depends: blogs(price) pins a column of type numeric, whose equal values can be written differently; " +
			"use blogs()",
		`blogs(at = 'x')`:       "of type timestamp with time zone",
		`blogs(c = :s)`:         "of type character",
		`blogs(folded = :s)`:    "of type text",
		`blogs(tags = :s)`:      "of type text[]",
		`blogs(twice = :id)`:    "depends: blogs(twice) pins a generated column, which is not in the log; use blogs()",
		`blogs(title = :id)`:    "blogs(title) has the type text, but the parameter id is bigint",
		`blogs(id = :s)`:        "blogs(id) has the type bigint, but the parameter s is text",
		`blogs(id = 'x')`:       `blogs(id) has the type bigint, which has no value written "x"`,
		`blogs(on_ = 'true')`:   `which has no value written "true"`,
		`blogs(u = 'ABC')`:      `which has no value written "ABC"`,
		`a_view()`:              "a_view is a view, whose changes are not in the log under that name; name the tables that hold its rows",
		`a_copy()`:              "a_copy is a materialized view",
		`fleeting()`:            "fleeting is an unlogged table",
		`pg_catalog.pg_class()`: "pg_catalog.pg_class belongs to Postgres",
		`parent()`:              "parent has tables that inherit from it",
		`part(id = :s)`:         "part(id) has the type bigint, but the parameter s is text",
		`anonymous()`: "the table public.anonymous has no replica identity, so that publishing it would make its updates fail: " +
			"run ALTER TABLE public.anonymous REPLICA IDENTITY FULL",
		`keyless()`: "the partitioned table public.keyless has no primary key, which its partitions need for a replica identity, so that " +
			"publishing it would make its updates fail: run ALTER TABLE public.keyless ADD PRIMARY KEY (...)",
		`nameless()`: "public.nobody, a partition of public.nameless, has no replica identity, so that publishing it would make its " +
			"updates fail: run ALTER TABLE public.nobody REPLICA IDENTITY FULL",
		`blogs(id), nothing(), x()`: "there is no table nothing\nt.sql:8: depends: there is no table x",
	} {
		t.Run(depends, func(t *testing.T) {
			_, err := planned(t, c, depends, usesAll)
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, want)
			_, ok := errors.AsType[*query.Error](err)
			require.True(t, ok, "%T", err)
			require.ErrorContains(t, err, "t.sql:")
		})
	}
}

// What reads a partition, or declares that it does, depends on the root of its tree: under that name its changes are in the log.
func TestPlanOfAPartition(t *testing.T) {
	c := catalogOf(t, `
		CREATE TABLE parts (id int, region text, k text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
		CREATE TABLE east PARTITION OF parts FOR VALUES IN ('east') PARTITION BY HASH (id);
		CREATE TABLE east_0 PARTITION OF east FOR VALUES WITH (MODULUS 1, REMAINDER 0);
		ALTER TABLE east_0 REPLICA IDENTITY FULL`)
	for name, plan := range map[string]struct{ depends, sql string }{
		"read":     {"", "SELECT k, :s AS s, :d AS d, :u AS u FROM east_0 WHERE id = :id"},
		"declared": {"east_0(id)", usesAll},
		"both":     {"parts(id)", "SELECT k, :s AS s, :d AS d, :u AS u FROM east WHERE id = :id"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := planned(t, c, plan.depends, plan.sql)
			require.NoError(t, err)
			for _, need := range got.Needs {
				assert.Equal(t, "public.parts [id]", fmt.Sprint(need.Schema, ".", need.Table, " ", need.Columns))
			}
			assert.NotEmpty(t, got.Needs)
			assert.Empty(t, got.Warnings)
		})
	}
}

// Whoever declares a dependency is told as well that updates clear more than they have to.
func TestPlanWarnsOfPartitions(t *testing.T) {
	c := catalogOf(t, `CREATE TABLE parts (id int PRIMARY KEY, k text) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts DEFAULT`)
	got, err := planned(t, c, "part()", "SELECT :id, :s, :d, :u, k FROM parts")
	require.NoError(t, err)
	require.Len(t, got.Warnings, 1)
	require.Contains(t, got.Warnings[0], "run ALTER TABLE public.part REPLICA IDENTITY FULL, and the same for each partition, new ones too")
	got, err = planned(t, c, "part()", usesAll)
	require.NoError(t, err)
	require.Len(t, got.Warnings, 1)
}
