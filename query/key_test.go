package query_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/query"
	"freshet/query/analysis"
)

const keyed = `-- name: keyed
-- route: GET /keyed/{id}
-- param: id bigint, min 1
-- param: name text = 'x', max_len 20
-- param: flag bool, optional
-- param: amount numeric, optional
-- param: at timestamptz, optional
-- param: day date, optional
-- param: uid uuid, optional
-- param: tags text[], max 3, optional
-- result: many
SELECT * FROM t WHERE id = :id AND name = :name AND flag = :flag AND tags = :tags AND n = :amount AND at = :at AND day = :day AND uid = :uid`

func keyedQuery(tb testing.TB) *query.Query {
	tb.Helper()
	q, err := query.Parse("keyed.sql", []byte(keyed))
	require.NoError(tb, err)
	return q
}

// What a key stands for is what it was made of, also where a value looks like a key.
func TestParseKey(t *testing.T) {
	q := keyedQuery(t)
	for _, raw := range []string{
		"", "name=", "name=a%20b%3D1%3Ac", "flag=true&amount=-1.50&at=2025-01-01T02:00:00%2B02:00&day=2025-02-03", "tags=", "tags=a&tags=2:b]",
		"uid=123E4567E89B12D3A456426614174000&name=%C3%A9%5B%5D",
	} {
		values, err := url.ParseQuery(raw)
		require.NoError(t, err)
		args, err := q.Bind(query.Values{Path: map[string]string{"id": "007"}, Query: values})
		require.NoError(t, err, raw)
		got, err := q.ParseKey(args.Key())
		require.NoError(t, err, args.Key())
		require.Equal(t, args, got)
	}
}

// A text that is no key of a request that could be sent now is refused: its entry is none that anybody asks for.
func TestParseKeyRefuses(t *testing.T) {
	q := keyedQuery(t)
	const rest = " flag=- amount=- at=- day=- uid=- tags=-"
	_, err := q.ParseKey("id=1:7 name=1:x" + rest)
	require.NoError(t, err)
	for name, key := range map[string]string{
		"nothing":                    "",
		"too short a text":           "id=1:7 name=5:x" + rest,
		"more behind it":             "id=1:7 name=1:x" + rest + " ",
		"another name":               "id=1:7 nome=1:x" + rest,
		"a parameter is missing":     "id=1:7 name=1:x flag=-",
		"not canonical":              "id=3:007 name=1:x" + rest,
		"a length with a zero":       "id=01:7 name=1:x" + rest,
		"a negative length":          "id=-1:7 name=1:x" + rest,
		"below the minimum":          "id=1:0 name=1:x" + rest,
		"NULL for a required one":    "id=- name=1:x" + rest,
		"NULL where a default is":    "id=1:7 name=-" + rest,
		"too many elements":          "id=1:7 name=1:x flag=- amount=- at=- day=- uid=- tags=4[1:a1:b1:c1:d]",
		"a huge number of elements":  "id=1:7 name=1:x flag=- amount=- at=- day=- uid=- tags=999999999999[",
		"a text for a list":          "id=1:7 name=1:x flag=- amount=- at=- day=- uid=- tags=1:a",
		"a list for a text":          "id=1:7 name=1[1:x]" + rest,
		"a bool of another spelling": "id=1:7 name=1:x flag=4:true amount=- at=- day=- uid=- tags=-",
	} {
		_, err := q.ParseKey(key)
		require.Error(t, err, name)
	}
}

// Whatever stands in a key, it is refused, or it is the very key of the arguments that come of it.
func FuzzParseKey(f *testing.F) {
	q := keyedQuery(f)
	f.Add("id=1:7 name=1:x flag=- amount=- at=- day=- uid=- tags=-")
	f.Add("id=1:7 name=3:a=b flag=1:t amount=4:1.50 at=20:2025-01-01T00:00:00Z day=10:2025-02-03 uid=- tags=2[1:a0:]")
	f.Fuzz(func(t *testing.T, key string) {
		args, err := q.ParseKey(key)
		if err == nil && args.Key() != key {
			t.Fatalf("%q became %q", key, args.Key())
		}
	})
}

// Every way in which a result can depend on the time is known as one.
func TestTimed(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); CREATE VIEW recent AS SELECT * FROM t WHERE at > now()")
	catalog, err := analysis.ReadCatalog(t.Context(), db.Conn(t))
	require.NoError(t, err)
	for sql, timed := range map[string]bool{
		"SELECT id FROM t":                              false,
		"SELECT id FROM t WHERE at > '2025-01-01'":      false,
		"SELECT id FROM t WHERE at > now()":             true,
		"SELECT id, CURRENT_DATE FROM t":                true,
		"SELECT id, CURRENT_TIMESTAMP FROM t":           true,
		"SELECT age(at) FROM t":                         true,
		"SELECT id FROM t WHERE at > 'today'::date":     true,
		"SELECT id, statement_timestamp() FROM t":       true,
		"SELECT id FROM recent":                         true,
		"SELECT id FROM t WHERE at > LOCALTIMESTAMP(0)": true,
	} {
		q, err := query.Parse("q.sql", []byte("-- name: q\n-- route: GET /q\n-- result: many\n"+sql))
		require.NoError(t, err)
		plan, err := q.Plan(catalog)
		require.NoError(t, err, sql)
		require.Equal(t, timed, plan.Timed, sql)
	}
}
