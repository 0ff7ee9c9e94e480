package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

func TestMain(m *testing.M) {
	// A run starts its own program again, which here is the test.
	if len(os.Args) > 1 && (os.Args[1] == "prototype" || os.Args[1] == "baseline") {
		main()
	}
	testenv.Main(m)
}

// It measures nothing that means anything, but everything is there and works.
func TestEveryFigureIsMeasured(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"--json", "--duration", "400ms", "--rows", "2000", "--transactions", "300"}, &stdout, &stderr)
	require.Equal(t, 0, status, stderr.String())
	var rep report
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &rep))
	var names []string
	for _, f := range rep.Figures {
		names = append(names, f.Name+" / "+f.Beside)
		if f.Unit == "%" { // a share of what should not happen, beside nothing
			require.GreaterOrEqual(t, f.Value, 0.0, f.Name)
		} else {
			require.Positive(t, f.Value, f.Name)
			require.Positive(t, f.Ratio, f.Name)
		}
		require.Contains(t, []string{verdictPass, verdictFail, verdictReported}, f.Verdict)
	}
	require.Len(t, names, 16, strings.Join(names, "\n"))
	require.NotEmpty(t, rep.Machine.Postgres)
	require.NotEmpty(t, rep.Machine.Redis)
	require.NotEmpty(t, rep.Machine.NATS)
}

func TestBadOptionsAreRefusedAtOnce(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "writes"}, {"--duration", "1ms"}, {"--rate", "0"}, {"--rows", "0"}, {"--transactions", "-1"}, {"more"}, {"--unknown"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run(t.Context(), args, &stdout, &stderr), args)
		require.NotEmpty(t, stderr.String())
		require.Empty(t, stdout.String())
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	require.Zero(t, quantile(all, 0.5))
	for i := 100; i >= 1; i-- {
		all = append(all, time.Duration(i))
	}
	for of, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.9: 90, 0.99: 99, 1: 100} {
		require.Equal(t, want, quantile(all, of), of)
	}
	require.Equal(t, time.Duration(7), quantile([]time.Duration{7}, 0.5))
}

func TestTableIsAligned(t *testing.T) {
	var rep report
	rep.add("commit -> key gone, median", "ms", 0.75, "bare prototype", 0.5).atMost(1)
	rep.add("p99", "ms", 12.34, "bare prototype", 1.5).atMost(3)
	rep.add("alone", "req/s", 23456.7, "", 0)
	rep.notef("a note")
	var out bytes.Buffer
	require.NoError(t, rep.writeTable(&out))
	_, table, _ := strings.Cut(out.String(), "\n\n")
	require.Equal(t, strings.TrimPrefix(`
figure                      value        beside                    ratio  goal        
commit -> key gone, median  0.750 ms     0.500 ms  bare prototype  1.50   <= 1.00 ms  pass
p99                         12.3 ms      1.50 ms   bare prototype  8.23   <= 3.00 ms  fail
alone                       23457 req/s  -                         -      -           reported

a note
`, "\n"), table)
}

func TestLoadCountsAnswersAndMisses(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hit/") {
			w.Header().Set("Cache-Status", "freshet; hit; ttl=60")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(r.URL.Path))
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()

	got, err := load(t.Context(), target{addr: addr, paths: []string{"/hit/1", "/hit/2"}, cached: true}, 50*time.Millisecond)
	require.NoError(t, err)
	require.GreaterOrEqual(t, got.requests, int64(connections))
	require.Zero(t, got.misses)
	got, err = load(t.Context(), target{addr: addr, paths: []string{"/miss"}, cached: true}, 50*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, got.requests, got.misses)

	answers, err := getAll(t.Context(), addr, []string{"/hit/1", "/other"})
	require.NoError(t, err)
	require.Equal(t, "/other", string(answers[1].body))
	require.True(t, answers[0].hit)
	require.False(t, answers[1].hit)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = load(ctx, target{addr: addr, paths: []string{"/hit/1"}}, time.Minute)
	require.ErrorIs(t, err, context.Canceled)

	status = http.StatusServiceUnavailable
	_, err = load(t.Context(), target{addr: addr, paths: []string{"/hit/1"}}, 50*time.Millisecond)
	require.ErrorContains(t, err, "503")
}

func TestDeletesTellWhenEachKeyWent(t *testing.T) {
	server := testenv.Redis(t, "--notify-keyspace-events", "Eg")
	client := server.Client(t)
	ctx := t.Context()
	gone, err := watchDeletes(ctx, client.Options().Addr)
	require.NoError(t, err)
	defer gone.close()
	require.NoError(t, client.MSet(ctx, "a", 1, "b", 1, "c", 1).Err())
	w := gone.expect([]string{"a", "b"})
	before := time.Now()
	require.NoError(t, client.Unlink(ctx, "c", "a").Err())
	require.NoError(t, client.Del(ctx, "b").Err())
	cleared, err := w.wait(ctx)
	require.NoError(t, err)
	require.Len(t, cleared, 2)
	require.False(t, cleared["b"].Before(cleared["a"]))
	require.WithinRange(t, cleared["a"], before, time.Now())
}

func TestFirstColumnIsBounded(t *testing.T) {
	row := []byte("U\x00\x00\x00\x01O\x00\x02t\x00\x00\x00\x0242t\x00\x00\x00\x01xN")
	id, err := firstColumn(row)
	require.NoError(t, err)
	require.Equal(t, "42", string(id))
	for n := range len(row) - len("t\x00\x00\x00\x01xN") {
		_, err := firstColumn(row[:n])
		require.Error(t, err, n)
	}
}
