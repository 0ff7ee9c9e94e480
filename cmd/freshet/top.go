package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"freshet/api"
	"freshet/cache"
	"freshet/internal/config"
)

// topSettings are where the api is, and the token that it asks for.
type topSettings struct{ url, token string }

func (t *topSettings) Register(s *config.Set) {
	s.String(&t.url, "url", "FRESHET_URL", "http://127.0.0.1:8080", "where the api is")
	s.String(&t.token, "admin-token", "FRESHET_ADMIN_TOKEN", "", "the api's admin token", config.Secret())
}

func topCommand() *cobra.Command {
	var settings topSettings
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running api in the terminal: hits, latency, lag, and changes with what they cleared",
		Long: `Shows what the api's page /ui shows, once a second, until Ctrl-C. It needs the admin token, unless the api shows details to everybody.

With --once it prints the figures of one second and ends, for scripts.`,
		Example: "  source .freshet/dev.env && freshet top\n  freshet top --once --url http://127.0.0.1:8080",
	}
	once := cmd.Flags().Bool("once", false, "print once and end")
	return withSettings(cmd, func(cmd *cobra.Command, _ *config.Set) error {
		out := cmd.OutOrStdout()
		t := &top{url: settings.url, token: settings.token, once: *once, out: out, height: topRows, width: topWidth}
		if f, ok := out.(*os.File); ok && !*once && term.IsTerminal(int(f.Fd())) {
			t.terminal = f
		}
		return unlessStopped(cmd.Context(), t.run(cmd.Context()))
	}, &settings)
}

const (
	// topRows and topWidth are the size of what is shown where the size of the terminal is not known.
	topRows, topWidth = 40, 120
	// topChanges is how many changes are kept.
	topChanges = 100
	// topLine bounds a line of the stream.
	topLine = 1 << 20
	// topSilence is how long nothing may come, though a sample comes each second: then whoever should send it is gone, or stands still.
	topSilence = 5 * time.Second
	// topRetry is the pause before a connection that was lost is made again.
	topRetry = time.Second
)

// top is the screen, and what is on it.
type top struct {
	url, token    string
	once          bool
	out           io.Writer
	terminal      *os.File // nil: no colours, and no redrawing
	height, width int

	now     api.LiveSample
	queries []api.LiveQuery
	changes []cache.LiveChange // the newest first
	dropped uint64
	printed uint64 // samples
}

// errTopDone ends top after it has printed once.
var errTopDone = errors.New("printed")

var errTopSilent = fmt.Errorf("nothing has come for %s", topSilence)

// because is errTopSilent if that is why the context has ended.
func because(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errTopSilent) {
		return err
	}
	return nil
}

// refusedError is an answer that trying again would not change.
type refusedError struct{ detail string }

func (e *refusedError) Error() string { return e.detail }

// run follows the stream. A connection that never worked is an error; one that is lost is made again.
func (t *top) run(ctx context.Context) error {
	if t.terminal != nil {
		// The other screen, without a cursor; and back.
		fmt.Fprint(t.out, "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(t.out, "\x1b[?25h\x1b[?1049l")
	}
	for {
		err := t.follow(ctx)
		refused, ok := errors.AsType[*refusedError](err)
		switch {
		case errors.Is(err, errTopDone):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case ok:
			return refused
		case t.printed == 0 || t.once:
			return err
		}
		t.draw("not connected: " + err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(topRetry):
		}
	}
}

// follow reads the stream until it ends.
func (t *top) follow(ctx context.Context) error {
	url := strings.TrimSuffix(t.url, "/") + "/performance/live"
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(topSilence, func() { cancel(errTopSilent) })
	defer silent.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return cmp.Or(because(ctx), err)
	}
	defer resp.Body.Close() // it was only read
	if resp.StatusCode != http.StatusOK {
		return liveRefused(url, resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, topLine)
	event := ""
	for lines.Scan() {
		silent.Reset(topSilence)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			if err := t.on(event, []byte(value)); err != nil {
				return err
			}
		}
	}
	if err := cmp.Or(because(ctx), lines.Err()); err != nil {
		return fmt.Errorf("read %s: %w", url, err)
	}
	return fmt.Errorf("%s has ended", url)
}

// liveRefused is the error of an answer that is no stream.
func liveRefused(url string, resp *http.Response) error {
	var p struct {
		Detail string `json:"detail"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it
	_ = json.Unmarshal(text, &p)                             // another server's answer has no detail
	err := fmt.Errorf("%s: %s: %s", url, resp.Status, p.Detail)
	if resp.StatusCode < http.StatusInternalServerError {
		return &refusedError{err.Error() + " (--admin-token or FRESHET_ADMIN_TOKEN)"}
	}
	return err
}

// on takes an event in. A sample is also when to draw.
func (t *top) on(event string, data []byte) error {
	switch event {
	case "sample":
		if err := json.Unmarshal(data, &t.now); err != nil {
			return fmt.Errorf("read a sample: %w", err)
		}
		if !t.once {
			t.draw("")
		}
		t.printed++
	case "queries":
		if err := json.Unmarshal(data, &t.queries); err != nil {
			return fmt.Errorf("read the queries: %w", err)
		}
		if t.once { // the first list comes right after the first sample
			t.draw("")
			return errTopDone
		}
	case "applied":
		var step cache.Live
		if err := json.Unmarshal(data, &step); err != nil {
			return fmt.Errorf("read what was applied: %w", err)
		}
		t.apply(&step)
	}
	return nil
}

func (t *top) apply(step *cache.Live) {
	t.dropped = step.Dropped
	if step.Reset != "" {
		t.push(cache.LiveChange{Op: "reset", Table: step.Reset, Buckets: []string{"everything"}, Committed: time.Now()})
	}
	for _, c := range step.Changes {
		t.push(c)
	}
}

func (t *top) push(c cache.LiveChange) {
	t.changes = append([]cache.LiveChange{c}, t.changes[:min(len(t.changes), topChanges-1)]...)
}
