// Package query turns SQL files into endpoints.
//
// One file is one endpoint: an annotated header says the route, the parameters and the caching policy, and one
// statement follows. The package owns the syntax of that header, the named parameters of the statement, the checking of
// what a request sends for them, and the text that goes to Postgres. It never speaks HTTP and never touches the cache.
//
// A header is the run of "--" lines at the top of the file:
//
//	-- name: blog_list                          unique; lower case, digits and underscores
//	-- route: GET /blogs                        GET reads; POST, PATCH, PUT and DELETE write; /blogs/{id} or /blogs/:id
//	-- param: limit int = 50, min 1, max 50     see [Param]; one line each
//	-- result: many                             many: a JSON array; one: a JSON object, or no row
//	-- ttl: 10m                                 reads only; 5m unless said
//	-- max_staleness: 2s                        reads only; the server's own unless said
//	-- stale_if_error: 1m                       reads only; while Postgres is down an answer may be older by as much; 0 unless said
//	-- depends: blogs(status)                   reads only; see [Dependency]; several lines add up
//	-- doc: One sentence for people.
//	-- example: /blogs?limit=5                  a path to try
//
// The statement names its parameters :name. They become $1, $2, ... with a cast to the declared type.
package query

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// DefaultTTL is how long a read's result is kept when its file does not say.
const DefaultTTL = 5 * time.Minute

// Query is one endpoint. It is immutable once parsed and safe for concurrent use.
type Query struct {
	Name   string // unique among the loaded files
	File   string // path as loaded, for messages
	Doc    string // one sentence for people, or empty
	Method string // GET, POST, PATCH, PUT or DELETE
	Path   string // with path parameters in the form /blogs/:id
	// Example is a path (with query string) that a person can try, or empty.
	Example string

	Params []Param // in the order in which the file declares them
	Result Result

	TTL          time.Duration // how long a result is kept; 0 for a write
	MaxStaleness time.Duration // how far behind a cached answer may be; 0: the server's setting
	StaleIfError time.Duration // by how much more while Postgres is down
	Depends      []Dependency  // what a read depends on; nil for a write

	// SQL is the statement with each :name rewritten to $n::type. Line breaks are where they were in the file.
	SQL string
	// Text is what is sent to Postgres: SQL wrapped so that Postgres builds the JSON. It returns exactly one row of one
	// text column, which is NULL when [ResultOne] found no row. When a ResultOne statement yields two rows, Postgres
	// refuses it (SQLSTATE 21000, and a write is undone): a file that wants the first of several says LIMIT 1 itself.
	Text string

	line   int // line of the file at which SQL begins
	before int // bytes of Text before SQL
}

// Cached reports whether the query's results may be cached: it is a read.
func (q *Query) Cached() bool { return q.Method == http.MethodGet }

// Fingerprint identifies everything about the query that decides what a cached result of it looks like and what clears
// it. It belongs in the name of a cached result, so that a new version of the file never serves the results of the old.
func (q *Query) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q", q.Name, q.Text)
	for _, p := range q.Params {
		fmt.Fprintf(h, " %q %q", p.Name, p.Type)
	}
	for _, d := range q.Depends {
		fmt.Fprintf(h, " %q %q %q", d.Schema, d.Table, d.Columns)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// param returns the declared parameter of that name, or nil.
func (q *Query) param(name string) *Param {
	for i := range q.Params {
		if q.Params[i].Name == name {
			return &q.Params[i]
		}
	}
	return nil
}

// Result says what shape of JSON a query answers with.
type Result string

// The shapes of a result.
const (
	ResultOne  Result = "one"  // one JSON object; no row is "not found"
	ResultMany Result = "many" // a JSON array, perhaps empty
)

// In says where a request carries a parameter.
type In string

// The places of a parameter.
const (
	InPath  In = "path"  // a segment of the path
	InQuery In = "query" // the query string (reads)
	InBody  In = "body"  // a member of the JSON body (writes)
)

// Param is a declared parameter:
//
//	-- param: NAME TYPE [= DEFAULT] [, min N] [, max N] [, min_len N] [, max_len N] [, one of a|b|c] [, optional]
//
// A parameter with neither a default nor "optional" is required; an optional one that is absent is NULL.
type Param struct {
	Name string
	Type Type
	In   In
	// Default is the value of an absent parameter, in canonical form (the elements of a text[] separated by commas),
	// or nil.
	Default  *string
	Required bool
	// Min and Max bound a number; for text[] they bound how many elements there are. Nil: no bound.
	Min, Max *int64
	// MinLen and MaxLen bound a text, or each element of a text[], in characters. MaxLen 0: no bound.
	MinLen, MaxLen int
	OneOf          []string // the only values that a text may have; nil: any
	Line           int      // where it is declared

	n int // its $n; 0 when the statement does not use it
}

// Dependency is a shape that a read depends on: a table and the columns that the read pins by equality.
//
//	blogs()                       every change of the table counts
//	blogs(status)                 only rows whose status, before or after, is the parameter status
//	blogs(author = :who)          the same, the parameter being who
//	blogs(status = 'published')   pinned by a constant
//
// A dependency must be right: every row that can change the result has the pinned values before or after the change.
type Dependency struct {
	Schema  string // "" is to be resolved by the search_path
	Table   string
	Columns []Pin // sorted by column; empty: the whole table
	Line    int   // where it is declared
}

// Pin fixes one column to the value of a parameter, or to a constant when Param is "". The constant is written as Postgres
// prints it: true is t.
type Pin struct {
	Column, Param, Const string
}
