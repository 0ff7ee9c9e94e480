package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
	"freshet/replay"
)

func TestReplay(t *testing.T) {
	t.Parallel() // beside the soak
	d := newDevFolder(t)
	p, env := d.running()
	var settings []string
	for name, value := range env {
		settings = append(settings, name+"="+value)
	}
	replayed := func(status int, args ...string) string {
		t.Helper()
		output, got := finish(t, settings, append([]string{"replay"}, args...)...)
		require.Equal(t, status, got, output)
		return output
	}
	execute(t, env["DATABASE_URL"], "UPDATE blogs SET title = 'of the replay', status = 'draft' WHERE id = 7")
	execute(t, env["DATABASE_URL"], "UPDATE blogs SET status = 'published' WHERE id = 7")
	_, status := finish(t, settings, "wait")
	require.Zero(t, status)

	output := replayed(0, "--table", "blogs", "--where", "new.status = published and old.status = draft", "--format", "table")
	require.Equal(t, 3, strings.Count(output, "\n"), output) // the heading, the reset, the change
	require.Contains(t, output, "status: draft → published")

	lines := strings.Split(strings.TrimSpace(replayed(0, "--since", "oldest", "--table", "blogs", "--where", "key.id = 7")), "\n")
	require.Len(t, lines, 3, "the reset too")
	var e replay.Event
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &e))
	after := replayed(0, "--after", e.Cursor.String(), "--table", "blogs", "--where", "key.id = 7")
	require.Equal(t, lines[2], strings.TrimSpace(after))
	require.Equal(t, strings.Join(lines[1:], "\n"), strings.TrimSpace(replayed(0, "--from-position", e.Position.String(), "--where", "key.id = 7")))

	rows := replayed(0, "--snapshot", "blogs")
	require.Equal(t, 2000, strings.Count(rows, `"op":"snapshot"`))
	require.Contains(t, rows, "of the replay")

	require.Contains(t, replayed(notThere, "--table", "blogz"), "the log has no changes of a table public.blogz; it has changes of ")
	require.Contains(t, replayed(notThere, "--from-position", "0/1"), "does not reach back to position 0/1: the oldest is sequence 1")
	require.Contains(t, replayed(notThere, "--after", "1@other"), "it is another log")
	require.Contains(t, replayed(1, "--where", "status = x"), `"status" cannot be compared`)
	require.Contains(t, replayed(1, "--since", "soon"), `"soon" is neither a duration`)
	require.Contains(t, replayed(1, "--since", "1h", "--after", "1@x"), "choose one of")
	require.Contains(t, replayed(1, "--format", "xml"), "must be one of json, cloudevents, table")
	require.Contains(t, replayed(1, "--snapshot", "nothing"), "there is no such table")

	follow := begin(t, settings, "replay", "--follow", "--table", "blogs")
	testenv.Eventually(t, patience, func() (bool, string) { // it may not have begun to read when the first is made
		execute(t, env["DATABASE_URL"], "UPDATE blogs SET views = views + 1 WHERE id = 9")
		return strings.Contains(follow.Output(), `"op":"update","key":{"id":"9"}`), "the change should be printed"
	})
	follow.Signal(syscall.SIGINT)
	exited(t, follow)
	require.Zero(t, follow.ExitCode())
	d.stop(p, syscall.SIGTERM)
}
