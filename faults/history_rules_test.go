package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// made is a history of one register, written by hand: times are in seconds.
type made struct {
	t *testing.T
	*history
}

func newMade(t *testing.T) *made {
	t.Helper()
	m := &made{t, newHistory()}
	m.own(map[int64]place{1: 1})
	return m
}

func at(seconds float64) instant { return instant(seconds * float64(time.Second)) }

func (m *made) wrote(version int64, began, ended float64, o outcome) {
	m.put(began, ended, o, map[int64]state{1: {version, 1}})
}

// put is a transaction of the owner.
func (m *made) put(began, ended float64, o outcome, to map[int64]state) {
	tx := m.begin(to)
	m.end(tx, o)
	for _, w := range tx.of {
		w.began = at(began)
		if o == committed {
			w.ended = at(ended)
		}
	}
}

func (m *made) read(version int64, began, ended float64, d demand) error {
	return m.judge([]sight{{id: 1, version: version, in: anywhere, demand: d}}, observation{began: at(began), ended: at(ended)})
}

// What nobody may believe the oracle without: each broken promise is found, and what is allowed is not called broken.
func TestOracle(t *testing.T) {
	strict, bounded := demand{linearizable: true, within: -1}, demand{within: time.Second}
	for _, tt := range []struct {
		name         string
		version      int64
		began, ended float64
		demand       demand
		wrong        string
	}{
		{"the latest", 3, 10, 10.1, strict, ""},
		{"the one before it, once that was acknowledged", 2, 10, 10.1, strict, "STALE: version 3"},
		{"the one before it, while that is being written", 2, 3.05, 4, strict, ""},
		{"the new one, while it is being written", 3, 3.05, 3.06, strict, ""},
		{"one that had not begun", 3, 2.5, 2.9, strict, "nobody had written that"},
		{"one that is not known to have happened", 4, 10, 10.1, strict, ""},
		{"one that was rolled back", 5, 10, 10.1, strict, "rolled back"},
		{"one that nobody wrote", 9, 10, 10.1, strict, "nobody had written that"},
		{"an old one within the bound", 2, 4.0, 4.1, bounded, ""},
		{"an old one beyond the bound", 2, 4.2, 4.3, bounded, "STALE: version 3 had been acknowledged 1s before"},
		{"what the session has seen", 2, 3.2, 3.3, demand{within: -1, least: 2}, ""},
		{"less than the session has seen", 2, 3.2, 3.3, demand{within: -1, least: 3}, "its session has seen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMade(t)
			m.wrote(1, 1, 1.1, committed)
			m.wrote(2, 2, 2.1, committed)
			m.wrote(3, 3, 3.1, committed)
			m.wrote(4, 8, 0, unknown)
			m.wrote(5, 9, 0, aborted)
			err := m.read(tt.version, tt.began, tt.ended, tt.demand)
			if tt.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.wrong)
			require.ErrorContains(t, err, "version 3 (in group 1) from 3.0000s to 3.1000s, committed")
		})
	}
}

// Of two reads, one after the other, the second must not show less, even while nothing of it has been acknowledged. Only an order of
// all operations shows that.
func TestOracleLooksForAnOrder(t *testing.T) {
	strict := demand{linearizable: true, within: -1}
	for _, tt := range []struct {
		name          string
		first, second int64
		outcome       outcome
		right         bool
	}{
		{"back in time", 2, 1, committed, false},
		{"back in time, of a write that nobody answered", 2, 1, unknown, false},
		{"forth", 1, 2, committed, true},
		{"forth, of a write that nobody answered", 1, 2, unknown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMade(t)
			m.wrote(1, 1, 1.1, committed)
			m.wrote(2, 2, 9, tt.outcome)
			require.NoError(t, m.read(tt.first, 3, 3.1, strict))
			require.NoError(t, m.read(tt.second, 4, 4.1, strict))
			judged, err := m.settle(map[int64]state{1: {2, 1}})
			if !tt.right {
				require.ErrorContains(t, err, "not linearizable")
				return
			}
			require.NoError(t, err)
			require.Equal(t, 2, judged)
		})
	}
}

// A write that nobody answered, and that was seen, is there in the end.
func TestOracleLooksAtTheEnd(t *testing.T) {
	m := newMade(t)
	m.wrote(1, 1, 1.1, committed)
	m.wrote(2, 2, 0, unknown)
	require.NoError(t, m.read(2, 3, 3.1, demand{linearizable: true, within: -1}))
	_, err := m.settle(map[int64]state{1: {1, 1}})
	require.ErrorContains(t, err, "not linearizable")
}

// What was acknowledged must be there, unless the server was one that could lose it; then nobody may see it any more.
func TestOracleMissesWhatWasLost(t *testing.T) {
	m := newMade(t)
	m.wrote(1, 1, 1.1, committed)
	m.wrote(2, 2, 2.1, committed)
	_, err := m.settle(map[int64]state{1: {1, 1}})
	require.ErrorContains(t, err, "Postgres has lost it")

	m = newMade(t)
	m.wrote(1, 1, 1.1, committed)
	m.wrote(2, 2, 2.1, committed)
	_, err = m.settle(map[int64]state{1: {2, 1}})
	require.NoError(t, err)
	require.NoError(t, m.lose(map[int64]state{1: {1, 1}}))
	m.registers[1].lostAt = at(3)
	strict, bounded := demand{linearizable: true, within: time.Second}, demand{within: time.Second}
	require.ErrorContains(t, m.read(2, 3.1, 3.2, strict), "has lost that")
	require.NoError(t, m.read(2, 3.1, 3.2, bounded))
	require.ErrorContains(t, m.read(2, 4.1, 4.2, bounded), "has lost that")
	require.NoError(t, m.read(1, 3.1, 3.2, strict))
	require.True(t, m.wasLost(1, 2))
	require.False(t, m.wasLost(1, 1))
}

// A bounded read may show what was so before the history was last judged.
func TestOracleRemembers(t *testing.T) {
	m := newMade(t)
	m.wrote(1, 1, 1.1, committed)
	m.wrote(2, 2, 2.1, committed)
	m.wrote(3, 2.5, 0, unknown)
	m.origin = m.origin.Add(-3 * time.Second) // it is judged at 3
	_, err := m.settle(map[int64]state{1: {3, 1}})
	require.NoError(t, err)
	bounded := demand{within: time.Second}
	require.NoError(t, m.read(1, 3.0, 3.1, bounded))
	require.ErrorContains(t, m.read(1, 3.2, 3.3, bounded), "STALE: version")
	require.ErrorContains(t, m.read(2, 9, 9.1, bounded), "STALE: version 3", "what is there has happened")
	require.NoError(t, m.read(3, 9, 9.1, demand{linearizable: true, within: -1}))
	judged, err := m.settle(map[int64]state{1: {3, 1}})
	require.NoError(t, err)
	require.Equal(t, 1, judged)
}
