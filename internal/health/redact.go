package health

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// hidden stands for a secret.
const hidden = "xxxxx"

var (
	// userinfo is what stands before the @ of a URL. A password may have an @ of its own.
	userinfo = regexp.MustCompile(`://[^\s/?#"]*@`)
	// passwordValue is a password in a keyword/value string or in the query of a URL.
	passwordValue = regexp.MustCompile(`(?i)((?:password|passwd|pass|token|secret)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&"]+)`)
)

// redact hides what is secret in a text: what a URL has before its @, values that are called a password, and the secrets that are known.
func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	text = userinfo.ReplaceAllString(text, "://"+hidden+"@")
	return passwordValue.ReplaceAllString(text, "${1}"+hidden)
}

// SecretsOf lists the secrets in the URLs of servers: passwords, and a NATS token, as they are and as they are written in the URL. A
// keyword/value string of Postgres will do too. A password that is also the name of the user, the host or the database is not listed:
// hiding it would hide nothing, and make every other message unreadable.
func SecretsOf(urls ...string) []string {
	var all []string
	add := func(secret string, public ...string) {
		if secret != "" && !slices.Contains(public, secret) {
			all = append(all, secret)
		}
	}
	for _, list := range urls {
		if cfg, err := pgconn.ParseConfig(list); err == nil {
			add(cfg.Password, cfg.User, cfg.Host, cfg.Database)
		}
		for one := range strings.SplitSeq(list, ",") {
			u, err := url.Parse(strings.TrimSpace(one))
			if err != nil || u.User == nil {
				continue
			}
			database := strings.TrimPrefix(u.Path, "/")
			password, given := u.User.Password()
			if !given { // NATS: a token stands where others have the user
				if u.Scheme == "nats" || u.Scheme == "tls" {
					add(u.User.Username(), u.Hostname())
				}
				continue
			}
			add(password, u.User.Username(), u.Hostname(), database)
			if _, raw, _ := strings.Cut(u.User.String(), ":"); raw != password {
				add(raw, u.User.Username(), u.Hostname(), database)
			}
		}
	}
	return all
}
