package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// The names of the example's queries, and of what is not one.
const (
	blogByID      = "blog_by_id"
	blogBySlug    = "blog_by_slug"
	blogList      = "blog_list"
	userDashboard = "user_dashboard"
	blogsByAuthor = "blogs_by_author"
	blogsByTag    = "blogs_by_tag"
	quizList      = "quiz_list"
	attemptCreate = "attempt_create"
	blogUpdate    = "blog_update"
	healthName    = "health"
)

// reads are the example's reads, and how many of 100 reads are of each: mostly articles, by way of lists, and now and then one's own page.
var reads = []struct {
	query  string
	weight int
}{
	{blogByID, 35}, {blogList, 20}, {blogBySlug, 15}, {userDashboard, 10}, {blogsByAuthor, 8}, {quizList, 7}, {blogsByTag, 5},
}

var writes = []string{attemptCreate, blogUpdate}

// noStoreShare is how many of 1,000 reads ask for an answer from Postgres, past the cache. They are there to be compared with, and so few
// that they do not change what is compared.
const noStoreShare = 20

// skew is the exponent of Zipf's law: with 1.1 the most popular of 2,000 articles has a sixth of all reads, and the lower half of them a
// seventeenth together. What is measured of traffic to sites is between 0.6 and 1.2; math/rand has only what is above 1.
const skew = 1.1

// drawer draws the requests of one user.
type drawer struct {
	site          *site
	writes, edits int
	rand          *rand.Rand
	blogs, users  *rand.Zipf
	names, pages  *rand.Zipf
	topics        *rand.Zipf
	tags          *rand.Zipf
	serial        uint64
}

// maxPage is the last page of the list that anybody reads.
const maxPage = 20

func newDrawer(s *site, cfg Config, user uint64) *drawer {
	r := randomness(cfg.Seed, user)
	zipf := func(n int) *rand.Zipf { return rand.NewZipf(r, skew, 1, uint64(max(n, 1)-1)) }
	return &drawer{
		site: s, writes: cfg.Writes, edits: cfg.Edits, rand: r, serial: user << 32,
		blogs: zipf(len(s.blogs)), users: zipf(len(s.users)), names: zipf(len(s.authors)), tags: zipf(len(s.tags)), topics: zipf(len(s.topics)),
		// Few people turn the page: twice the skew.
		pages: rand.NewZipf(r, 2*skew, 1, maxPage),
	}
}

// next draws a request.
func (d *drawer) next() request {
	if d.rand.IntN(100) < d.writes {
		return d.write()
	}
	n := d.rand.IntN(100)
	q := request{}
	for _, r := range reads {
		if n -= r.weight; n < 0 {
			q = d.read(r.query)
			break
		}
	}
	q.noStore = d.rand.IntN(1000) < noStoreShare
	return q
}

// read draws the parameters of a query.
func (d *drawer) read(query string) request {
	s := d.site
	var path string
	switch query {
	case blogByID:
		path = "/blogs/" + strconv.FormatInt(s.blogs[d.blogs.Uint64()].ID, 10)
	case blogBySlug:
		path = "/blogs/slug/" + s.blogs[d.blogs.Uint64()].Slug
	case blogList:
		path = "/blogs?limit=20&offset=" + strconv.FormatUint(20*d.pages.Uint64(), 10)
	case userDashboard:
		path = "/users/" + strconv.FormatInt(s.users[d.users.Uint64()], 10) + "/dashboard"
	case blogsByAuthor:
		path = "/authors/" + s.authors[d.names.Uint64()] + "/blogs"
	case blogsByTag:
		path = "/tags/" + s.tags[d.tags.Uint64()] + "/blogs"
	default:
		path = "/quizzes"
		if d.rand.IntN(2) == 0 { // half of them look for one topic
			path += "?topic=" + s.topics[d.topics.Uint64()]
		}
	}
	return request{query: query, method: http.MethodGet, path: path}
}

// write draws a write. Those who take quizzes are those who look at their page; which article is edited has nothing to do with how much it
// is read.
func (d *drawer) write() request {
	d.serial++
	if d.rand.IntN(100) < d.edits {
		b := d.site.blogs[d.rand.IntN(len(d.site.blogs))]
		return request{
			query: blogUpdate, method: http.MethodPatch, path: "/blogs/" + strconv.FormatInt(b.ID, 10),
			body: object(map[string]any{"title": fmt.Sprintf("%s (revision %x)", baseTitle(b.Title), d.serial)}),
		}
	}
	return request{
		query: attemptCreate, method: http.MethodPost, path: "/attempts",
		body: object(map[string]any{
			"user_id": d.site.users[d.users.Uint64()], "quiz_id": d.site.quizzes[d.rand.IntN(len(d.site.quizzes))], "score": d.rand.IntN(101),
		}),
	}
}

func object(fields map[string]any) []byte {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // numbers and texts only
	}
	return text
}
