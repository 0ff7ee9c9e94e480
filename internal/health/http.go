package health

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
)

// The paths of the endpoints.
const (
	PathBasic    = "/health"
	PathLive     = "/health/live"
	PathReady    = "/health/ready"
	PathDetailed = "/health/detailed"
)

// Handler serves the endpoints.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathBasic, m.ServeBasic)
	mux.HandleFunc("GET "+PathLive, m.ServeLive)
	mux.HandleFunc("GET "+PathReady, m.ServeReady)
	mux.HandleFunc("GET "+PathDetailed, func(w http.ResponseWriter, r *http.Request) {
		if status, why := m.Allow(r); status != http.StatusOK {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
			}
			answer(w, status, map[string]string{"error": why})
			return
		}
		m.ServeDetailed(w, r)
	})
	return mux
}

// ServeBasic answers GET /health: 503 if the process is down, else 200.
func (m *Monitor) ServeBasic(w http.ResponseWriter, r *http.Request) {
	m.AwaitFirst(r.Context())
	b := m.Basic()
	status := http.StatusOK
	if b.Status == ProcessDown {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, b)
}

// ServeLive answers GET /health/live: always 200. Nothing but the process counts: to restart it mends no server.
func (m *Monitor) ServeLive(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "alive"})
}

// ServeReady answers GET /health/ready: 200 if the process can do its work, else 503 with the reason.
func (m *Monitor) ServeReady(w http.ResponseWriter, r *http.Request) {
	m.AwaitFirst(r.Context())
	ready := m.Ready()
	status := http.StatusOK
	if !ready.OK {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, ready.object())
}

// ServeDetailed answers GET /health/detailed, always with 200. Ask Allow before.
func (m *Monitor) ServeDetailed(w http.ResponseWriter, r *http.Request) {
	m.AwaitFirst(r.Context())
	answer(w, http.StatusOK, m.Detailed())
}

// Allow says whether a request may see the details: 200, or the status to answer with and the reason.
func (m *Monitor) Allow(r *http.Request) (status int, why string) {
	switch {
	case m.cfg.Open:
		return http.StatusOK, ""
	case m.cfg.AdminToken == "":
		return http.StatusForbidden, "the details are switched off: the process has no FRESHET_ADMIN_TOKEN, and not FRESHET_HEALTH_DETAILED_OPEN"
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	// Digests are compared, in constant time, so that neither length nor content leaks.
	given, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(m.cfg.AdminToken))
	if !ok || !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		return http.StatusUnauthorized, "this needs the header Authorization: Bearer <admin token>"
	}
	return http.StatusOK, ""
}

// answer sends JSON that no cache keeps.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // a detail that is no JSON: a mistake of the check's author
		status, text = http.StatusInternalServerError, []byte(`{"error":"the details cannot be encoded"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // who has gone away does not hear it
}
