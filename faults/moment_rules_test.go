package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// moved is a history of two rows that are in the groups 1 and 2, or nowhere.
func moved(t *testing.T) *made {
	t.Helper()
	m := &made{t, newHistory()}
	m.own(map[int64]place{1: 1, 2: 1})
	m.put(1, 1.1, committed, map[int64]state{1: {1, 2}})
	m.put(2, 2.1, committed, map[int64]state{1: {2, nowhere}})
	m.put(3, 3.1, committed, map[int64]state{1: {3, 1}, 2: {1, 2}})
	m.put(4, 0, unknown, map[int64]state{1: {4, 2}, 2: {2, 1}})
	m.put(5, 0, aborted, map[int64]state{2: {3, nowhere}})
	m.put(6, 6.1, committed, map[int64]state{2: {4, 1}})
	return m
}

// A row that is deleted, inserted again, or moved to another group is judged like one that changes.
func TestOracleMissesRows(t *testing.T) {
	strict, bounded := demand{linearizable: true, within: -1}, demand{within: time.Second}
	for _, tt := range []struct {
		name         string
		id, version  int64
		in           place
		began, ended float64
		demand       demand
		wrong        string
	}{
		{"the group that it is in", 1, 1, 2, 1.5, 1.6, strict, ""},
		{"the group that it has left", 1, 0, 1, 1.5, 1.6, strict, "STALE: version 1 had been acknowledged before"},
		{"gone from the group that it has left", 1, unseen, 1, 1.5, 1.6, strict, ""},
		{"gone from the group that it is in", 1, unseen, 2, 1.5, 1.6, strict, "STALE: version 1 had been acknowledged before, and it was there"},
		{"gone, and it is in another group", 1, unseen, anywhere, 1.5, 1.6, strict, "STALE: version 1"},
		{"in a group where that version was not", 1, 1, 1, 1.5, 1.6, strict, "in that version it was in group 2"},
		{"gone once it is deleted", 1, unseen, anywhere, 2.5, 2.6, strict, ""},
		{"there once it is deleted", 1, 1, anywhere, 2.5, 2.6, strict, "STALE: version 2"},
		{"there in the version that is its deletion", 1, 2, anywhere, 2.5, 2.6, strict, "in that version it was in group -1"},
		{"there within the bound", 1, 1, anywhere, 3.0, 3.05, bounded, ""},
		{"gone while it comes back", 1, unseen, anywhere, 3.05, 3.2, strict, ""},
		{"gone once it is back", 1, unseen, anywhere, 3.5, 3.6, strict, "STALE: version 3"},
		{"gone within the bound", 1, unseen, anywhere, 4.0, 4.1, bounded, ""},
		{"gone beyond the bound", 1, unseen, anywhere, 4.2, 4.3, bounded, "STALE: version 3 had been acknowledged 1s before"},
		{"gone, and its session has seen it come back", 1, unseen, anywhere, 3.5, 3.6, demand{within: -1, least: 3}, "its session has seen or written"},
		{"moved by a transaction that nobody answered", 1, 4, 2, 4.5, 4.6, strict, ""},
		{"not moved by it", 1, 3, 1, 4.5, 4.6, strict, ""},
		{"gone by a transaction that was rolled back", 2, unseen, anywhere, 5.5, 5.6, strict, "STALE: version 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := moved(t).judge([]sight{{id: tt.id, version: tt.version, in: tt.in, demand: tt.demand}}, observation{began: at(tt.began), ended: at(tt.ended)})
			if tt.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.wrong)
		})
	}
}

// What porcupine is told of rows that are not there: gone, there, and gone again is no order.
func TestOracleLooksForAnOrderOfAbsence(t *testing.T) {
	strict := demand{linearizable: true, within: -1}
	for _, right := range []bool{true, false} {
		m := &made{t, newHistory()}
		m.own(map[int64]place{1: nowhere})
		m.put(1, 9, committed, map[int64]state{1: {1, 1}})
		for i, version := range []int64{unseen, 1, unseen} {
			if i < 2 || !right {
				require.NoError(t, m.judge([]sight{{id: 1, version: version, in: anywhere, demand: strict}}, observation{began: at(float64(2 + i)), ended: at(2.5 + float64(i))}))
			}
		}
		_, err := m.settle(map[int64]state{1: {1, 1}})
		if right {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "not linearizable")
		}
	}
}

// Rows that were seen together were so at one moment, each of them right by itself or not.
func TestOracleLooksForAMoment(t *testing.T) {
	seen := func(id, version int64, in place) sight {
		return sight{id: id, version: version, in: in, demand: demand{within: time.Minute}}
	}
	for _, tt := range []struct {
		name   string
		sights []sight
		right  bool
	}{
		{"before anything", []sight{seen(1, 0, 1), seen(2, 0, 1)}, true},
		{"both after their transaction", []sight{seen(1, 3, 1), seen(2, 1, 2)}, true},
		{"one before it, one after it", []sight{seen(1, 1, 2), seen(2, 1, 2)}, false},
		{"one of a transaction that nobody answered, and the other one before it", []sight{seen(1, 4, 2), seen(2, 1, 2)}, false},
		{"both of it", []sight{seen(1, 4, 2), seen(2, 2, 1)}, true},
		{"neither of it", []sight{seen(1, 3, 1), seen(2, 4, 1)}, true},
		{"one before a change, one after a later one", []sight{seen(1, 1, 2), seen(2, 4, 1)}, false},
		{"gone, beside the other one as it was then", []sight{seen(1, unseen, anywhere), seen(2, 0, 1)}, true},
		{"gone, beside the other one as it was later", []sight{seen(1, unseen, anywhere), seen(2, 1, 2)}, false},
		{"in one of two groups", []sight{seen(1, 1, 2), seen(1, unseen, 1), seen(2, 0, 1), seen(2, unseen, 2)}, true},
		{"in both groups", []sight{seen(1, 1, 2), seen(1, 0, 1), seen(2, 0, 1), seen(2, unseen, 2)}, false},
		{"in neither group, and never deleted", []sight{seen(2, unseen, 1), seen(2, unseen, 2)}, false},
		{"in neither group while it is deleted", []sight{seen(1, unseen, 1), seen(1, unseen, 2)}, true},
		{"in neither group, but found by its key", []sight{seen(1, unseen, 1), seen(1, unseen, 2), seen(1, 1, anywhere)}, false},
		{"an empty group", []sight{seen(1, unseen, 1), seen(2, unseen, 1)}, true},
		{"another empty group", []sight{seen(1, unseen, 2), seen(2, unseen, 2)}, true},
		{"both groups empty", []sight{seen(1, unseen, 1), seen(2, unseen, 1), seen(1, unseen, 2), seen(2, unseen, 2)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := moved(t).judge(tt.sights, observation{began: at(7), ended: at(8)})
			if tt.right {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "never so at one moment")
		})
	}
}

// How old an answer may be is what was asked for, what its query allows, and what it says of itself, whichever is least.
func TestOracleHoldsAnswersToTheirWord(t *testing.T) {
	plain, slow := question{query: plain, id: 1}, question{query: slow, id: 1}
	for _, tt := range []struct {
		name   string
		ask    ask
		age    string
		status string
		within time.Duration
		wrong  string
	}{
		{"an answer of no age", ask{questions: []question{plain}}, "0", "freshet; hit; ttl=1; detail=redis", time.Second, ""},
		{"one of some age", ask{questions: []question{plain}}, "2", "freshet; hit; ttl=1; detail=redis", 3 * time.Second, ""},
		{"the oldest that its query allows", ask{questions: []question{plain}}, "4", "freshet; hit; ttl=1; detail=redis", 4 * time.Second, ""},
		{"one that is older", ask{questions: []question{plain}}, "5", "freshet; hit; ttl=1; detail=redis", 0, "older than 4s"},
		{"the oldest that was asked for", ask{questions: []question{plain}, maxAge: 2 * time.Second}, "2", "freshet; hit; ttl=1; detail=redis", 2 * time.Second, ""},
		{"one that is older than was asked for", ask{questions: []question{plain}, maxAge: 2 * time.Second}, "3", "freshet; hit; ttl=1; detail=redis", 0, "older than 2s"},
		{"a policy that is stricter than what was asked for", ask{questions: []question{slow}, maxAge: 3 * time.Second}, "1", "freshet; hit; ttl=1; detail=redis", time.Second, ""},
		{"together, the strictest policy", ask{questions: []question{plain, slow}}, "2", "freshet; hit; ttl=1; detail=redis", 0, "older than 1s"},
		{"a stale answer", ask{questions: []question{{query: tolerant}}}, "15", "freshet; hit; ttl=1; detail=stale", 16 * time.Second, ""},
		{"a stale answer beyond what its query allows", ask{questions: []question{{query: tolerant}}}, "22", "freshet; hit; ttl=1; detail=stale", 0, "older than 21s"},
		{"a stale answer that nobody allowed for", ask{questions: []question{plain}}, "5", "freshet; hit; ttl=1; detail=stale", 0, "nobody has allowed"},
		{"a stale answer to somebody who asked for less", ask{questions: []question{{query: tolerant}}, strict: true}, "5", "freshet; hit; ttl=1; detail=stale", 0, "nobody has allowed"},
		{"an answer that does not say its age", ask{questions: []question{plain}}, "", "freshet; fwd=miss", 0, "header Age"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &answer{header: http.Header{"Age": {tt.age}, "Cache-Status": {tt.status}, positionTitle: {"0/1"}}}
			sights := make([]sight, 1)
			err := tt.ask.promised(a, sights)
			if tt.wrong != "" {
				require.ErrorContains(t, err, tt.wrong)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.within, sights[0].within)
		})
	}
}

// An answer that may be behind may show a moment that the database has lost, also where each of its rows could be of another one.
func TestOracleAllowsForMomentsThatWereLost(t *testing.T) {
	m := &made{t, newHistory()}
	m.own(map[int64]place{1: 1, 2: 1})
	m.put(1, 1.1, committed, map[int64]state{1: {1, 2}})
	m.put(2, 2.1, committed, map[int64]state{1: {2, 1}})
	m.put(3, 3.1, committed, map[int64]state{2: {1, 2}})
	m.put(4, 4.1, committed, map[int64]state{1: {3, 2}})
	_, err := m.settle(map[int64]state{1: {3, 2}, 2: {1, 2}})
	require.NoError(t, err)
	require.NoError(t, m.lose(map[int64]state{1: {2, 1}, 2: {1, 2}}))
	for _, r := range m.registers {
		r.lostAt = at(5)
	}
	empty := func(began float64) error {
		bounded := demand{within: 10 * time.Second}
		return m.judge([]sight{{id: 1, version: unseen, in: 1, demand: bounded}, {id: 2, version: unseen, in: 1, demand: bounded}},
			observation{began: at(began), ended: at(began + 0.1)})
	}
	require.NoError(t, empty(5.5))
	require.NoError(t, empty(14.9))
	require.ErrorContains(t, empty(15.1), "BROKEN PROMISE")
}

// Writes that nobody answered must not keep porcupine from an answer: each could have happened at any time.
func TestOracleIsDoneWithManyUnknownWrites(t *testing.T) {
	m := newMade(t)
	version := int64(0)
	for range 12 {
		version++
		m.wrote(version, float64(version), 0, unknown)
	}
	for range 400 {
		version++
		m.wrote(version, float64(version), float64(version)+0.5, committed)
		require.NoError(t, m.read(version, float64(version)+0.6, float64(version)+0.7, demand{linearizable: true, within: -1}))
		require.NoError(t, m.read(version, float64(version)+0.6, float64(version)+0.8, demand{linearizable: true, within: -1}))
	}
	began := time.Now()
	_, err := m.settle(map[int64]state{1: {version, 1}})
	require.NoError(t, err)
	require.Less(t, time.Since(began), checkTimeout/2)
}
