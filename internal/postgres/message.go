package postgres

import (
	"context"
	"encoding/json"
	"fmt"
)

// The prefixes of Freshet's logical messages (pg_logical_emit_message), which are always transactional: a message is
// published in order with the other changes of its transaction, or not at all if that is rolled back. What they hold is JSON:
//
//	freshet.ddl    {"schema":"public","table":"blogs","reason":"ALTER TABLE"}
//	freshet.clear  {"schema":"public","table":"blogs","values":{"id":"42"},"reason":"freshet.clear"}
//
//	freshet.trace  00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//
// Without schema and table they are about everything, without values about every row of the table; see events.Define and
// events.Clear. The last one is no JSON, and no change: it names the request that made the transaction (W3C traceparent), where it is
// traced. All is UTF-8 whatever the database's encoding is: the server passes messages on as they are.
const (
	DDLPrefix   = "freshet.ddl"
	ClearPrefix = "freshet.clear"
	// FlushPrefix is that of messages that mean nothing: they only make Postgres flush its WAL.
	FlushPrefix = "freshet.flush"
	// TracePrefix is that of messages which say by which request their transaction was made; whoever does not trace ignores them.
	TracePrefix = "freshet.trace"
)

// MessageStatement emits a message: its parameters are the prefix and the content, as bytes: a text would be in the encoding of the
// database.
const MessageStatement = "SELECT pg_logical_emit_message(true, $1, $2::bytea)"

// EmitDDL says in the log, with the transaction of db, that the definition of a table has changed, or that of something that
// stands behind queries of it. Without schema and table it says that anything may have changed. reason is for people.
func EmitDDL(ctx context.Context, db Execer, schema, table, reason string) error {
	content := struct {
		Schema string `json:"schema,omitempty"`
		Table  string `json:"table,omitempty"`
		Reason string `json:"reason"`
	}{schema, table, reason}
	if schema == "" || table == "" {
		content.Schema, content.Table = "", ""
	}
	text, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode the message that %s.%s is defined anew: %w", schema, table, err)
	}
	if _, err := db.Exec(ctx, MessageStatement, DDLPrefix, text); err != nil {
		return fmt.Errorf("emit the message that %s.%s is defined anew: %w", schema, table, err)
	}
	return nil
}

// HasDDLTrigger tells whether the database reports DDL by itself: the event triggers of the migrations are there (only a
// superuser can create them) and fire in every session. Where it is false, somebody has to compare the catalog every so often.
func HasDDLTrigger(ctx context.Context, db Querier) (bool, error) {
	var all bool
	// Enabled ALWAYS: any other state misses the sessions of replication, or all. The setting exists since Postgres 17.
	err := db.QueryRow(ctx, `SELECT count(*) = 3 AND coalesce(current_setting('event_triggers', true), 'on') = 'on'
		FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE e.evtenabled = 'A' AND n.nspname = 'freshet'
			AND (e.evtname, e.evtevent) IN (('freshet_ddl', 'ddl_command_end'), ('freshet_drop', 'sql_drop'), ('freshet_detach', 'ddl_command_start'))`).
		Scan(&all)
	if err != nil {
		return false, fmt.Errorf("look for Freshet's event triggers: %w", err)
	}
	return all, nil
}
