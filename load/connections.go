package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Connections tells how many connections to Postgres the api uses at this moment, and how many it may open.
type Connections interface {
	Use(ctx context.Context) (inUse, most int, err error)
}

// apiName is how the application_name of the api's connections begins.
const apiName = "freshet api "

// Activity is what Postgres itself knows of the api's connections (pg_stat_activity).
type Activity struct {
	conn *pgx.Conn
	most int
}

// NewActivity connects to the api's database. most is the limit of its pool, which Postgres does not know.
func NewActivity(ctx context.Context, url string, most int) (*Activity, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	cfg.RuntimeParams["application_name"] = "freshet load"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return &Activity{conn: conn, most: most}, nil
}

// Close ends the connection.
func (a *Activity) Close(ctx context.Context) error { return a.conn.Close(ctx) }

// Version is the server's.
func (a *Activity) Version() string { return a.conn.PgConn().ParameterStatus("server_version") }

// Use counts the connections of the api that run something, or are in a transaction. A state that may not be seen (it is another role's) counts
// as in use: too many rather than too few.
func (a *Activity) Use(ctx context.Context) (inUse, most int, err error) {
	var open int
	err = a.conn.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE state IS DISTINCT FROM 'idle')
		FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, $1)`, apiName).Scan(&open, &inUse)
	if err == nil && open == 0 {
		err = errors.New("the database has no connection of an api: is it the api's?")
	}
	return inUse, a.most, err
}

// usage is how many connections were in use while the load was measured.
type usage struct {
	source  Connections
	samples []int
	most    int
	err     error
}

// usageInterval is how often the connections are counted.
const usageInterval = 50 * time.Millisecond

// sample counts until ctx ends.
func (u *usage) sample(ctx context.Context, now *atomic.Pointer[phase]) {
	if u.source == nil {
		return
	}
	for wait(ctx, usageInterval) {
		if now.Load().name != phaseMeasure {
			continue
		}
		inUse, most, err := u.source.Use(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			u.err = err
			return
		}
		u.samples, u.most = append(u.samples, inUse), most
	}
}
