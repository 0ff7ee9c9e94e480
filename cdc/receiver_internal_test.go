package cdc

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A walsender that decodes a large transaction is silent, and works: to give it up would have it begin again, for ever.
func TestSilenceOfABusyWalsender(t *testing.T) {
	t.Parallel()
	r := newReceiver(nil, nil, 0, silenceAsked)
	r.waiting.Store(true)
	looks := 0
	r.idle = func(context.Context) (bool, error) {
		looks++
		return looks == 3, nil
	}
	require.ErrorContains(t, r.watch(t.Context(), nil, nil), "silent")
	require.Equal(t, 3, looks, "it is looked at again as long as it is busy")
	require.True(t, r.question.Load(), "it was asked")
}
