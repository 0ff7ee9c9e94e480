package health_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/internal/health"
)

// No error shows a secret, whichever way it came into the text.
func TestNoSecrets(t *testing.T) {
	for name, tt := range map[string]struct {
		urls []string
		text string
		want string
	}{
		"a URL":                   {nil, "dial postgres://ann:hush@db:5432/x?sslmode=off: refused", "dial postgres://xxxxx@db:5432/x?sslmode=off: refused"},
		"an @ in the password":    {nil, "redis://:hu@sh@h/1", "redis://xxxxx@h/1"},
		"a NATS token":            {nil, "nats://hush@h:4222", "nats://xxxxx@h:4222"},
		"a keyword":               {nil, "host=db password=hush user=ann", "host=db password=xxxxx user=ann"},
		"a keyword with quotes":   {nil, `password = 'hush \' hush' user=ann`, "password = xxxxx user=ann"},
		"a query":                 {nil, "postgres://db/x?password=hush&sslmode=off", "postgres://db/x?password=xxxxx&sslmode=off"},
		"a known one":             {[]string{"postgres://ann:hush@db/x"}, "no hush here", "no xxxxx here"},
		"a known one, as written": {[]string{"redis://:hu%20sh@h"}, "hu sh and hu%20sh", "xxxxx and xxxxx"},
		"a keyword/value string":  {[]string{"host=db password=hush user=ann dbname=x"}, "no hush here", "no xxxxx here"},
		"a known NATS token":      {[]string{"nats://hush@a:1, nats://bob:hash@b:2"}, "hush and hash of bob", "xxxxx and xxxxx of bob"},
		"one that is no secret":   {[]string{"postgres://freshet:freshet@db/freshet"}, "run `freshet migrate up`", "run `freshet migrate up`"},
		"a NATS user":             {[]string{"nats://bob:hush@b:2"}, "bob is not allowed", "bob is not allowed"},
		"nothing":                 {[]string{"redis://h:1/0", ""}, "dial tcp 127.0.0.1:6379: connection refused", "dial tcp 127.0.0.1:6379: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			m := run(t, health.Config{Secrets: health.SecretsOf(tt.urls...), Checks: []health.Check{
				{Name: "one", Look: func(context.Context) (any, error) { return nil, errors.New(tt.text) }},
			}})
			require.Equal(t, tt.want, until(t, m, "one", health.Failing).Error)
		})
	}
}
