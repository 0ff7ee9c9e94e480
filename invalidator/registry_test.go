package invalidator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/cache"
	"freshet/events"
	"freshet/internal/testenv"
)

// Rule 5, with everything real: a shape is active only once the log cannot lack anything of its table.
func TestShapeBecomesActive(t *testing.T) {
	s := newStack(t)
	ctx := t.Context()
	s.invalidator()
	s.applied()
	require.Equal(t, cache.ReasonInactive, s.must(item(1)).Reason)

	// It was writing before the table joined the publication: its change is never published.
	early, err := s.db.Conn(t).Begin(ctx)
	require.NoError(t, err)
	_, err = early.Exec(ctx, "UPDATE items SET n = 7 WHERE id = 1")
	require.NoError(t, err)
	waiting := s.waiting(itemByID, itemByAuthor)
	require.Len(t, waiting, 2)
	s.applied()
	require.Equal(t, cache.ReasonInactive, s.must(item(1)).Reason, "registered is not ready")

	activated := make(chan error, 1)
	go func() { activated <- s.registry.Activate(ctx, waiting) }()
	s.db.Exec(t, "UPDATE items SET n = 8 WHERE id = 2")
	s.applied()
	require.Equal(t, cache.ReasonInactive, s.must(item(2)).Reason)
	require.NoError(t, early.Commit(ctx))
	require.NoError(t, <-activated)
	s.applied()
	testenv.Eventually(t, patience, func() (bool, string) {
		return s.must(item(1)).Reason == "", "the shape should be active"
	})
	require.Equal(t, "1:7", string(s.must(item(1)).Body))
	s.nothingStale()
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	s.nothingStale()
}

func TestInvalidatorRestartsInTheMiddleOfARegistration(t *testing.T) {
	s := newStack(t)
	ctx := t.Context()
	v := s.invalidator()
	s.applied()
	waiting := s.waiting(itemByID, itemByAuthor)
	require.NoError(t, v.stop())
	require.NoError(t, s.registry.Activate(ctx, waiting))
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	v = s.invalidator()
	s.nothingStale()
	require.Empty(t, v.reasons())

	// And one that is there already, and a second cdc session.
	require.NoError(t, v.stop())
	s.db.Exec(t, "UPDATE items SET n = n + 1 WHERE id = 3")
	s.invalidator()
	s.nothingStale()
}

func TestRetiredShape(t *testing.T) {
	s := newStack(t)
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	s.nothingStale()
	old := s.applied()
	s.db.Exec(t, "DELETE FROM freshet.shapes WHERE columns = '{id}'")
	state := s.applied()
	require.NotContains(t, state.Generations, itemByID.String())
	require.Contains(t, state.Generations, itemByAuthor.String())
	require.Equal(t, cache.ReasonInactive, s.must(item(1)).Reason)
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	s.applied()

	s.register(itemByID)
	state = s.applied()
	require.NotEqual(t, old.Generations[itemByID.String()], state.Generations[itemByID.String()])
	s.nothingStale()
}

// A table that leaves the publication for a while: what was cached before is gone once its shapes are active again.
func TestTableLeavesThePublicationForAWhile(t *testing.T) {
	s := newStack(t)
	v := s.invalidator()
	s.register(itemByID, itemByAuthor)
	s.nothingStale()
	require.NoError(t, v.stop())
	s.db.Exec(t, "ALTER PUBLICATION freshet_test DROP TABLE items")
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	waiting := s.waiting(itemByID, itemByAuthor)
	require.Len(t, waiting, 2)
	require.NoError(t, s.registry.Activate(t.Context(), waiting))
	s.invalidator() // finds both shapes ready, and must see that they were not
	s.nothingStale()
}

func TestTruncateAndIdentityDefault(t *testing.T) {
	s := newStack(t)
	s.db.Exec(t, "ALTER TABLE items REPLICA IDENTITY DEFAULT")
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	s.nothingStale()
	for _, sql := range []string{
		"UPDATE items SET author = 2 WHERE id = 1", "UPDATE items SET author = NULL WHERE id = 2", "DELETE FROM items WHERE id = 3",
		"UPDATE items SET id = 99 WHERE id = 4", "INSERT INTO items VALUES (4, 1, 5)", "TRUNCATE items", "INSERT INTO items VALUES (1, 1, 1)",
	} {
		s.db.Exec(t, sql)
		s.nothingStale()
	}
}

// The stream is deleted under the eyes of all: cdc begins another one with a reset.
func TestStreamDeletedUnderTheStack(t *testing.T) {
	s := newStack(t)
	s.invalidator()
	s.register(itemByID, itemByAuthor)
	s.nothingStale()
	first := s.applied()
	for range 5 {
		s.db.Exec(t, "UPDATE items SET n = n + 1")
	}
	require.NoError(t, s.js.DeleteStream(t.Context(), events.StreamName(source)))
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	testenv.Eventually(t, patience, func() (bool, string) {
		state, _, _ := s.store.Load(t.Context())
		return state.Chain != first.Chain, "everything should be cleared"
	})
	s.nothingStale()
	s.db.Exec(t, "UPDATE items SET n = n + 1")
	s.nothingStale()
}
