package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	soakBlogs  = 40 // the blogs that are read by id, and written most
	soakUsers  = 8
	soakSlugs  = 10 // names in URLs that blogs take from one another
	neverShown = "rolled back: nobody may see this"
)

var (
	soakAuthors = []string{"amina-okafor", "soak-ann", "soak-bob", "soak-cho"}
	soakTags    = []string{"sql", "go", "soak"}
	soakStates  = []string{"published", "draft", "archived"}
)

// soakReads are requests to every read of the example, with parameters that the writers' rows move in and out of.
func soakReads(slugs []string) []soakRead {
	var all []soakRead
	for id := range int64(soakBlogs) {
		all = append(all, soakRead{
			query: "blog_by_id", path: fmt.Sprintf("/blogs/%d", id+1), params: map[string]string{"id": fmt.Sprint(id + 1)}, blog: id + 1,
		})
	}
	for id := range int64(soakBlogs / 4) {
		all = append(all, soakRead{
			query: "soak_slow", path: fmt.Sprintf("/slow/%d", id+1), params: map[string]string{"id": fmt.Sprint(id + 1)}, blog: id + 1,
		})
	}
	for i := range soakSlugs {
		slugs = append(slugs, fmt.Sprintf("soak-%d", i))
	}
	for _, slug := range slugs {
		all = append(all, soakRead{query: "blog_by_slug", path: "/blogs/slug/" + slug, params: map[string]string{"slug": slug}})
	}
	for _, status := range soakStates {
		for _, page := range []string{"limit=5", "limit=50", "limit=10&offset=10"} {
			all = append(all, soakRead{query: "blog_list", path: "/blogs?status=" + status + "&" + page})
		}
	}
	for _, author := range soakAuthors {
		for _, page := range []string{"", "?limit=3&offset=1"} {
			all = append(all, soakRead{
				query: "blogs_by_author", path: "/authors/" + author + "/blogs" + page, params: map[string]string{"author": author},
			})
		}
	}
	for _, tag := range soakTags {
		all = append(all, soakRead{query: "blogs_by_tag", path: "/tags/" + tag + "/blogs?limit=5", params: map[string]string{"tag": tag}})
	}
	for _, topic := range []string{"", "?topic=sql", "?topic=soak"} {
		all = append(all, soakRead{query: "quiz_list", path: "/quizzes" + topic})
	}
	for id := range soakUsers {
		user := fmt.Sprint(id + 1)
		all = append(all, soakRead{query: "user_dashboard", path: "/users/" + user + "/dashboard", params: map[string]string{"user_id": user}})
	}
	return all
}

// history is what is known of the blogs that are read by id: each write of one adds to its views, which so are its version.
// A blog that was deleted never comes back.
type history struct {
	mu        sync.Mutex
	committed map[int64][]soakVersion
	// seen is the highest version that a hit showed, by path: two results of one bucket, filled one after the other, can show
	// different versions until a change clears them both.
	seen map[string]int64
}

// soakVersion is what was known to be committed at a time.
type soakVersion struct {
	at     time.Time
	number int64
}

// deleted is the last version of a row.
const deleted = math.MaxInt64

func newHistory() *history {
	return &history{committed: map[int64][]soakVersion{}, seen: map[string]int64{}}
}

// commit notes that Postgres has acknowledged a version.
func (h *history) commit(blog, number int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.committed[blog]
	if len(known) > 0 { // writers come here in another order than they committed in
		number = max(number, known[len(known)-1].number)
	}
	h.committed[blog] = append(known, soakVersion{time.Now(), number})
}

// floors are the versions below which an answer to a request that begins now must not be: that of every commit that is older than
// the bound, and that which a hit has shown already.
func (h *history) floors(read soakRead) (bounded, seen int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := time.Now().Add(-soakStaleness)
	for _, v := range h.committed[read.blog] {
		if v.at.After(limit) {
			break
		}
		bounded = v.number
	}
	return bounded, h.seen[read.path]
}

// hit notes what an answer from the cache has shown.
func (h *history) hit(read soakRead, number int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[read.path] = max(h.seen[read.path], number)
}

// soakReader makes requests as fast as they are answered.
type soakReader struct {
	*soak
	random *rand.Rand
	last   map[string]remembered // by path
}

// remembered is an answer that the reader can be told not to have changed.
type remembered struct {
	etag   string
	number int64
}

func (r *soakReader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		read := r.reads[r.random.IntN(len(r.reads))]
		if err := r.read(ctx, read); err != nil && ctx.Err() == nil {
			return fmt.Errorf("GET %s: %w", read.path, err)
		}
		// Postgres and the processes have the same two processors.
		if !wait(ctx, time.Duration(r.random.Int64N(int64(8*time.Millisecond)))) {
			return nil
		}
	}
	return nil
}

// read makes one request and judges the answer.
func (r *soakReader) read(ctx context.Context, read soakRead) error {
	bounded, seen := r.history.floors(read)
	known := remembered{}
	if r.random.IntN(4) == 0 {
		known = r.last[read.path]
	}
	a, err := read.fetch(ctx, r.soak, known.etag)
	if err != nil {
		return err
	}
	r.count(a)
	now, err := r.judge(read, a, known)
	if err != nil || read.blog == 0 {
		return err
	}
	if now.number < bounded {
		return fmt.Errorf("shows version %d, but %d was committed more than %s before (%s)", now.number, bounded, soakStaleness, a.header)
	}
	if now.number < seen {
		return fmt.Errorf("shows version %d, but a hit showed %d before (%s)", now.number, seen, a.header)
	}
	if a.hit() {
		r.history.hit(read, now.number)
	}
	return nil
}

func (r *soakReader) count(a answer) {
	r.answered.Add(1)
	if a.hit() {
		r.hits.Add(1)
	}
	if a.status == http.StatusNotModified {
		r.notModified.Add(1)
	}
	if strings.Contains(a.header.Get("Cache-Status"), "fwd=bypass") {
		r.bypassed.Add(1)
	}
}

// judge reads the version that an answer shows.
func (r *soakReader) judge(read soakRead, a answer, known remembered) (remembered, error) {
	if strings.Contains(a.body, neverShown) {
		return known, fmt.Errorf("shows what was rolled back: %s", a.body)
	}
	switch a.status {
	case http.StatusNotModified:
		if known.etag == "" || a.header.Get("ETag") != known.etag {
			return known, fmt.Errorf("304 to a request with the tag %q: %s", known.etag, a.header)
		}
		return known, nil
	case http.StatusNotFound:
		return remembered{number: deleted}, nil
	case http.StatusOK:
	default:
		return known, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	now := remembered{etag: a.header.Get("ETag")}
	if read.blog != 0 {
		var row struct {
			ID    int64 `json:"id"`
			Views int64 `json:"views"`
		}
		if err := json.Unmarshal([]byte(a.body), &row); err != nil {
			return now, fmt.Errorf("read %s: %w", a.body, err)
		}
		if row.ID != read.blog {
			return now, fmt.Errorf("shows blog %d", row.ID)
		}
		now.number = row.Views
	}
	r.last[read.path] = now
	return now, nil
}
