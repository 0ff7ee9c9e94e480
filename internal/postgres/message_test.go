package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"freshet/internal/postgres"
	"freshet/internal/testenv"
)

func TestEmitDDL(t *testing.T) {
	db := testenv.Postgres(t)
	db.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'test_decoding')", db.Name)
	for _, tt := range []struct{ schema, table, reason, want string }{
		{"public", "blogs", "ALTER TABLE", `{"schema":"public","table":"blogs","reason":"ALTER TABLE"}`},
		{`a."b`, "tä\n", "", `{"schema":"a.\"b","table":"tä\n","reason":""}`},
		{"", "", "x", `{"reason":"x"}`},
		{"public", "", "x", `{"reason":"x"}`},
	} {
		require.NoError(t, pgx.BeginFunc(t.Context(), db.Pool(t), func(tx pgx.Tx) error {
			return postgres.EmitDDL(t.Context(), tx, tt.schema, tt.table, tt.reason)
		}))
		var head, content string
		db.QueryRow(t, []any{&head, &content}, `SELECT split_part(data, ' content:', 1), split_part(data, ' content:', 2)
			FROM pg_logical_slot_get_changes($1, NULL, NULL) WHERE data LIKE 'message:%'`, db.Name)
		require.Contains(t, head, "transactional: 1 prefix: freshet.ddl")
		require.JSONEq(t, tt.want, content)
	}
}

func TestHasDDLTrigger(t *testing.T) {
	db := testenv.Postgres(t)
	has := func() bool {
		t.Helper()
		found, err := postgres.HasDDLTrigger(t.Context(), db.Pool(t))
		require.NoError(t, err)
		return found
	}
	require.False(t, has())
	db = migrated(t)
	require.True(t, has())
	for _, state := range []string{"DISABLE", "ENABLE", "ENABLE REPLICA"} { // ENABLE: not in the sessions of replication
		db.Exec(t, "ALTER EVENT TRIGGER freshet_drop "+state)
		require.False(t, has(), state)
	}
	db.Exec(t, "ALTER EVENT TRIGGER freshet_drop ENABLE ALWAYS")
	require.True(t, has())
	db.Exec(t, "DROP EVENT TRIGGER freshet_detach")
	require.False(t, has())
}
