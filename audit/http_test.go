package audit

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// What an api answers from the cache must be the entry that is there: before the request and after it. Anything else that it may
// answer says nothing.
func TestAnswersOfTheAPI(t *testing.T) {
	const hit, other = "freshet; hit; ttl=1; detail=redis", `{"id":1,"grp":1,"n":-1}`
	for name, tt := range map[string]struct {
		status     int
		from, body string // the entry's, unless said
		during     func(r *rig, s *subject)
		want       verdict
		fails      bool
	}{
		"the entry":               {http.StatusOK, hit, "", nil, fresh, false},
		"something else":          {http.StatusOK, hit, other, nil, stale, false},
		"that there is no row":    {http.StatusNotFound, hit, "", nil, stale, false},
		"from Postgres":           {http.StatusOK, "freshet; fwd=bypass; detail=no-store", other, nil, fresh, false},
		"stale, and says so":      {http.StatusOK, "freshet; hit; ttl=1; detail=stale", other, nil, fresh, false},
		"that it has nothing":     {http.StatusGatewayTimeout, "", "", nil, fresh, false},
		"an error":                {http.StatusInternalServerError, "", "", nil, fresh, true},
		"of an entry that is new": {http.StatusOK, hit, other, func(r *rig, s *subject) { r.apply(s.req.Tags...); r.read(s) }, fresh, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r *rig
			var s *subject
			var entry string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if tt.during != nil {
					tt.during(r, s)
				}
				if req.URL.String() != "/items/1" || req.Header.Get("Cache-Control") != "only-if-cached" {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				w.Header().Set("Cache-Status", tt.from)
				w.WriteHeader(tt.status)
				body := tt.body
				if body == "" {
					body = entry
				}
				_, _ = w.Write([]byte(body))
			}))
			t.Cleanup(server.Close)
			r = newRig(t, func(c *Config) { c.URL, c.Client = server.URL+"/", server.Client() })
			s = r.item("1")
			entry = string(r.read(s).Body)
			o := r.a.judge(t.Context(), s)
			require.Equal(t, tt.want, o.verdict)
			require.Equal(t, tt.fails, len(r.a.Summary().Failures) > 0)
			if tt.want == stale {
				require.Equal(t, KindAnswer, o.stale.Kind)
				require.Equal(t, entry, o.stale.Cached)
			}
		})
	}
}
