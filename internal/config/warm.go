package config

// Warmed is what freshet warm has to know of the api whose cache it fills.
type Warmed struct {
	Source     string // as in Source
	QueriesDir string // as in API
	Example    bool   // as in API
	URL        string // of the api
}

// Register adds the settings to s.
func (w *Warmed) Register(s *Set) {
	registerSource(s, &w.Source)
	registerQueries(s, &w.QueriesDir, &w.Example, "folder of the SQL files that the api serves", "the api serves the example application's queries")
	s.String(&w.URL, "url", "FRESHET_URL", "http://127.0.0.1:8080", "URL of the api")
}
