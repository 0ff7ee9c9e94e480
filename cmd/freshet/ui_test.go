package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"freshet/internal/testenv"
)

// findBrowser is a Chromium, without which the page cannot be tested.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.Fail(t, "there is no Chromium to test the page in: `deploy/setup.sh tests`, which `make test` runs first, installs one on Debian")
	return ""
}

// browser is a page in a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in it

	mu       sync.Mutex
	problems []string // exceptions of the page's scripts
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(findBrowser(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.WSURLReadTimeout(2*patience))
	allocated, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(stop)
	b := &browser{t: t}
	var end context.CancelFunc
	b.ctx, end = chromedp.NewContext(allocated, chromedp.WithListener(func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.problems = append(b.problems, fmt.Sprintf("%+v", e.ExceptionDetails))
		}
	}))
	t.Cleanup(end)
	// The browser lives as long as the context of the first call, which has no deadline for that reason.
	require.NoError(t, chromedp.Do(b.ctx, chromedp.Navigate("about:blank")))
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// value is that of an expression in the page.
func value[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err)
	return v
}

// text is what an element shows.
func (b *browser) text(id string) string {
	b.t.Helper()
	return value[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

// shows waits until an element shows a text.
func (b *browser) shows(id, text string) {
	b.t.Helper()
	testenv.Eventually(b.t, patience, func() (bool, string) {
		got := b.text(id)
		return strings.Contains(got, text), fmt.Sprintf("%s should show %q, not %q", id, text, got)
	})
}

// The page against everything that there is: what psql changes shows within a second, and its forms do what they say.
func TestPage(t *testing.T) {
	t.Parallel() // beside the soak
	b := newBrowser(t)
	d := newDevFolder(t)
	p, env := d.running()
	url, db := env["FRESHET_URL"], env["DATABASE_URL"]

	b.do(chromedp.Navigate(url + "/ui"))
	b.shows("state", "needs the admin token")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "wrong\r"))
	b.shows("state", "refused")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), env["FRESHET_ADMIN_TOKEN"]+"\r"))
	b.shows("state", "live")

	// The invalidator asks once a second whether anybody listens: from then on everything is told.
	testenv.Eventually(t, patience, func() (bool, string) {
		execute(t, db, "UPDATE blogs SET views = views + 1 WHERE id = 1")
		return strings.Contains(b.text("stream"), "id=1"), "the change of blog 1 should show"
	})
	quickest := time.Hour
	for id := 11; id < 16; id++ { // of five, as the machine may be busy with something else
		began := time.Now()
		execute(t, db, fmt.Sprintf("UPDATE blogs SET title = 'of the test' WHERE id = %d", id))
		b.shows("stream", fmt.Sprintf("public.blogs:id=%d", id))
		quickest = min(quickest, time.Since(began))
	}
	t.Logf("an UPDATE shows after %s", quickest)
	require.Less(t, quickest, time.Second)

	untilHit(t, url+"/blogs/1")
	b.shows("top-queries", "blog_by_id")
	b.shows("hop-log", "cdc streams")
	b.shows("hop-invalidator", "messages behind")

	b.do(chromedp.SetValue(chromedp.CSS("#sql"), "SELECT title FROM blogs WHERE id = 7"), chromedp.Click(chromedp.CSS("#check-form button")))
	b.shows("report", "freshet:public.blogs:id=7")
	b.do(chromedp.SetValue(chromedp.CSS("#sql"), "SELECT ("), chromedp.Click(chromedp.CSS("#check-form button")))
	b.shows("report", "Refused: line 1")

	untilHit(t, url+"/blogs/2")
	b.do(chromedp.SendKeys(chromedp.CSS("#which"), "public.blogs:id=2"), chromedp.SetValue(chromedp.CSS("#what"), "tag"), chromedp.Click(chromedp.CSS("#clear-form button")),
		chromedp.WaitVisible(chromedp.CSS("#confirm")), chromedp.Click(chromedp.CSS(`#confirm button[value="no"]`)), chromedp.WaitNotVisible(chromedp.CSS("#confirm")))
	require.True(t, get(t, url+"/blogs/2").hit())
	b.do(chromedp.Click(chromedp.CSS("#clear-form button")), chromedp.WaitVisible(chromedp.CSS("#confirm")), chromedp.Click(chromedp.CSS(`#confirm button[value="yes"]`)))
	b.shows("cleared", "Cleared the bucket public.blogs:id=2: 1 bucket.")
	require.False(t, get(t, url+"/blogs/2").hit())

	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.problems)
	for _, asked := range value[[]string](b, "performance.getEntriesByType('resource').map((r) => r.name)") {
		require.True(t, strings.HasPrefix(asked, url), "the page asks for %s", asked)
	}
	b.pictures(env)
	d.stop(p, syscall.SIGTERM) // with the page still open
}

// screenshots is where pictures of the page go (make screenshots).
var screenshots = flag.String("screenshots", "", "put pictures of the page under load into this folder")

// pictures takes a picture of the page in each colour scheme, for the documentation while there is something to see.
func (b *browser) pictures(env map[string]string) {
	b.t.Helper()
	folder := *screenshots
	if folder == "" {
		folder = b.t.TempDir()
	} else {
		settings := []string{}
		for name, value := range env {
			settings = append(settings, name+"="+value)
		}
		load := begin(b.t, settings, "load", "--users", "6", "--duration", "25s", "--compare", "0")
		defer exited(b.t, load)
		load.WaitForLine(b.t, "20s of 25s", patience)
	}
	for _, scheme := range []string{"light", "dark"} {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		picture, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) ([]byte, error) {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			if err != nil {
				return nil, err
			}
			return chromedp.FullScreenshot(100)(ctx, t)
		})
		cancel()
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(filepath.Join(folder, "ui-"+scheme+".png"), picture, 0o644))
	}
}

// liveServer answers as an api that is watched does.
func liveServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"this needs the token"}`)
			return
		}
		for _, e := range []string{
			`applied|{"position":"0/10","changes":[{"table":"public.blogs","op":"update","key":"id=1\u001b[2J","ms":1.5,"buckets":["public.blogs:id=1"]}]}`,
			`sample|{"reads_per_second":250,"hit_ratio":0.975,"p50_ms":0.2,"p99_ms":3,"hits":195,"misses":5,"watermark_age_seconds":0.5,` +
				`"commit_to_cleared_ms":{"n":1,"p50":1.5,"p99":1.5},"lag":{"slot_bytes":100,"cdc_active":true,"invalidator_messages":2,"invalidator_seconds":0.1},` +
				`"pool":{"in_use":1,"max":50}}`,
			`queries|[{"name":"blog_by_id","reads":200,"hit_ratio":0.975,"p50_ms":0.2,"p99_ms":3}]`,
		} {
			name, data, _ := strings.Cut(e, "|")
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTop(t *testing.T) {
	url := liveServer(t)
	output, status := finish(t, nil, "top", "--once", "--url", url, "--admin-token", "right")
	require.Zero(t, status, output)
	for _, text := range []string{"250 /s", "97.5 %", "hits 195, misses 5", "500.00 ms behind Postgres", "invalidator 2 messages behind, 0.1 s", "blog_by_id", "1.50 ms median"} {
		require.Contains(t, output, text)
	}
	require.NotContains(t, output, "\x1b", "colours are for terminals")

	require.Contains(t, refused(t, nil, "top", "--once", "--url", url, "--admin-token", "wrong"), "this needs the token")

	// What is redrawn has the changes too; what a terminal would obey is taken out.
	p := begin(t, nil, "top", "--url", url, "--admin-token", "right")
	p.WaitForLine(t, "public.blogs:id=1", patience)
	p.Signal(syscall.SIGINT)
	exited(t, p)
	require.Zero(t, p.ExitCode(), p.Output())
	require.NotContains(t, p.Output(), "\x1b")
}
