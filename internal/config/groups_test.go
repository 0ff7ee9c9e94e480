package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"freshet/internal/config"
)

// group is one struct of settings.
type group interface{ Register(*config.Set) }

// check registers g over e and returns what Check says.
func check(t *testing.T, g group, e env, args ...string) error {
	t.Helper()
	s, flags := newSet(e)
	g.Register(s)
	require.NoError(t, flags.Parse(args))
	return s.Check()
}

func TestDefaultsOfTheGroups(t *testing.T) {
	const url = "postgres://app:secret@db:5432/app?sslmode=disable"
	database := config.Database{}
	require.NoError(t, check(t, &database, env{"DATABASE_URL": url}))
	assert.Equal(t, config.Database{URL: url, MinConnections: 10, MaxConnections: 50,
		ConnectionTimeout: 10 * time.Second, CommandTimeout: 30 * time.Second}, database)

	optional := config.Database{Optional: true}
	require.NoError(t, check(t, &optional, env{}))
	assert.Empty(t, optional.URL)

	redis := config.Redis{}
	require.NoError(t, check(t, &redis, env{}))
	assert.Equal(t, "redis://127.0.0.1:6379/0", redis.URL)

	nats := config.NATS{}
	require.NoError(t, check(t, &nats, env{}))
	assert.Equal(t, config.NATS{URL: "nats://127.0.0.1:4222"}, nats)

	log := config.Log{}
	require.NoError(t, check(t, &log, env{}))
	assert.Equal(t, config.Log{Level: "info", Format: "text"}, log)

	source := config.Source{}
	require.NoError(t, check(t, &source, env{}))
	assert.Equal(t, config.Source{Name: "main", Publication: "freshet_main"}, source)

	cdc := config.CDC{}
	require.NoError(t, check(t, &cdc, env{}))
	assert.Equal(t, config.CDC{Source: "main", Publication: "freshet_main", SlotName: "freshet_main",
		NATSSyncInterval: 2 * time.Minute, Retention: 72 * time.Hour, Replicas: 1,
		HTTPAddr: "127.0.0.1:8081"}, cdc)

	invalidator := config.Invalidator{}
	require.NoError(t, check(t, &invalidator, env{}))
	assert.Equal(t, config.Invalidator{HTTPAddr: "127.0.0.1:8082"}, invalidator)
	require.NoError(t, check(t, &invalidator, env{}, "--invalidator-http-addr=off"))
	require.Error(t, check(t, &invalidator, env{}, "--invalidator-http-addr=on"))

	health := config.Health{}
	require.NoError(t, check(t, &health, env{"FRESHET_SOURCE": "shop"}))
	assert.Equal(t, 5*time.Second, health.Interval)
	assert.Equal(t, "freshet_shop", health.SlotName)
	assert.False(t, health.Open)
	require.Error(t, check(t, &health, env{"HEALTH_INTERVAL": "0"}))

	api := config.API{Example: true}
	require.NoError(t, check(t, &api, env{}))
	assert.Equal(t, config.API{Addr: "127.0.0.1:8080", Example: true, MaxStaleness: 5 * time.Second, MaxWaiting: 1000,
		BodyLimit: 1 << 20, RequestTimeout: 35 * time.Second, DrainTimeout: 10 * time.Second, WarmDeadline: 30 * time.Second, Telemetry: true}, api)

	dev := config.Dev{}
	require.NoError(t, check(t, &dev, env{}))
	assert.Equal(t, config.Dev{Data: ".freshet", PostgresPort: 54329, RedisPort: 63799, NATSPort: 42229}, dev)
}

func TestWhatTheGroupsRefuse(t *testing.T) {
	const database = "postgres://u:hunter2@db/app"
	for _, tc := range []struct {
		name  string
		group group
		env   env
		want  string // in the message; empty: accepted
	}{
		{"no database", &config.Database{}, env{}, "$DATABASE_URL) is not set; expected: a postgres:// URL"},
		{"another database", &config.Database{}, env{"DATABASE_URL": "mysql://u:hunter2@db/app?a=b"}, "(not shown)"},
		{"a bad port in the URL", &config.Database{}, env{"DATABASE_URL": "postgres://u:hunter2@db:x/app"}, "(not shown)"},
		{"a bad sslmode", &config.Database{}, env{"DATABASE_URL": database + "?sslmode=maybe"}, "(not shown)"},
		{"a lone word", &config.Database{}, env{"DATABASE_URL": "hunter2"}, "(not shown)"},
		{"keywords and values", &config.Database{}, env{"DATABASE_URL": "host=db user=u password=hunter2"}, ""},
		{"a socket's folder", &config.Database{}, env{"DATABASE_URL": "postgres:///app?host=/run/postgresql"}, ""},
		{"more connections kept than allowed", &config.Database{},
			env{"DATABASE_URL": database, "DB_MIN_CONNECTIONS": "60"},
			`--db-min-connections ($DB_MIN_CONNECTIONS) was given by variable as "60", --db-max-connections ($DB_MAX_CONNECTIONS) has its default "50"`},
		{"no time to connect", &config.Database{}, env{"DATABASE_URL": database, "DB_CONNECTION_TIMEOUT": "0"}, "of at least 1ms"},
		{"a port that is none", &config.Redis{}, env{"REDIS_PORT": "65536"}, "from 1 to 65535"},
		{"a NATS URL for Redis", &config.Redis{}, env{"REDIS_URL": "nats://u:hunter2@h:1"},
			`"nats://xxxxx@h:1"; expected: a URL that begins with redis://`},
		{"Redis on a socket", &config.Redis{}, env{"REDIS_URL": "unix:///run/redis.sock"}, ""},
		{"no host at all", &config.NATS{}, env{"NATS_URL": "nats://"}, "expected: a URL"},
		{"one bad server of three", &config.NATS{}, env{"NATS_URL": "nats://a:1,nats://b:2,c"}, "expected: a URL"},
		{"credentials that are not there", &config.NATS{}, env{"NATS_CREDENTIALS": "no-such.creds"}, "readable file"},
		{"a level of another logger", &config.Log{}, env{"FRESHET_LOG_LEVEL": "warning"}, "one of debug, info, warn, error"},
		{"a source that is no token", &config.Source{}, env{"FRESHET_SOURCE": "a.b"}, "1 to 40 small letters"},
		{"a source of 40 letters", &config.CDC{}, env{"FRESHET_SOURCE": strings.Repeat("a", 40)}, ""},
		{"a source of 41 letters", &config.Source{}, env{"FRESHET_SOURCE": strings.Repeat("a", 41)}, "1 to 40 small letters"},
		{"a slot that Postgres refuses", &config.CDC{}, env{"FRESHET_SLOT": "Slot"}, "1 to 63 small letters"},
		{"a publication that needs quotes", &config.CDC{}, env{"FRESHET_PUBLICATION": "1x"}, "not a digit first"},
		{"an fsync for each write", &config.CDC{}, env{"FRESHET_NATS_SYNC_INTERVAL": "0"}, ""},
		{"gone before it is safe", &config.CDC{}, env{"FRESHET_RETENTION": "1m"}, "longer than the sync interval"},
		{"too many replicas", &config.CDC{}, env{"FRESHET_STREAM_REPLICAS": "6"}, "from 1 to 5"},
		{"nothing to serve", &config.API{}, env{}, "nothing to serve"},
		{"an address without a port", &config.API{Example: true}, env{"FRESHET_HTTP_ADDR": "127.0.0.1"}, "host:port"},
		{"a port by name", &config.API{Example: true}, env{"FRESHET_HTTP_ADDR": ":http"}, "host:port"},
		{"a folder that is not there", &config.API{}, env{"FRESHET_QUERIES": "no-such-folder"}, "the path of a folder"},
		{"a token with a space", &config.API{Example: true}, env{"FRESHET_ADMIN_TOKEN": "hunter2 "}, "visible ASCII"},
		{"a body too large to be one", &config.API{Example: true}, env{"FRESHET_BODY_LIMIT": "2GiB"}, "from 1 to 1GiB"},
		{"two servers on one port", &config.Dev{}, env{"FRESHET_DEV_REDIS_PORT": "42229"}, "three different ports"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := check(t, tc.group, tc.env)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "hunter2", "a secret was printed")
			assert.Contains(t, err.Error(), "1 setting is wrong", "one mistake, one line")
		})
	}
}

func TestNamesFollowTheSource(t *testing.T) {
	s, _ := newSet(env{"FRESHET_SOURCE": "shop"})
	var source config.Source
	var cdc config.CDC
	source.Register(s)
	cdc.Register(s)
	require.NoError(t, s.Check())
	assert.Equal(t, config.Source{Name: "shop", Publication: "freshet_shop"}, source)
	assert.Equal(t, "shop", cdc.Source)
	assert.Equal(t, "freshet_shop", cdc.Publication)
	assert.Equal(t, "freshet_shop", cdc.SlotName)
}

func TestRedisIsBuiltFromHostAndPort(t *testing.T) {
	for _, tc := range []struct {
		env  env
		want string
	}{
		{env{"REDIS_HOST": "cache"}, "redis://cache:6379/0"},
		{env{"REDIS_HOST": "::1", "REDIS_PORT": "1"}, "redis://[::1]:1/0"},
		{env{"REDIS_HOST": "cache", "REDIS_URL": "rediss://u:p@other:2/3"}, "rediss://u:p@other:2/3"},
	} {
		var redis config.Redis
		require.NoError(t, check(t, &redis, tc.env))
		assert.Equal(t, tc.want, redis.URL)
	}
}

func TestFilesAndFoldersThatExist(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "user.creds")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	require.NoError(t, check(t, &config.NATS{}, env{"NATS_CREDENTIALS": file}))
	require.Error(t, check(t, &config.NATS{}, env{"NATS_CREDENTIALS": folder}))
	require.NoError(t, check(t, &config.API{}, env{}, "--queries", folder))
	require.Error(t, check(t, &config.API{}, env{}, "--queries", file))
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := config.Log{Level: "warn", Format: "json"}
	log.Logger(&out).Info("hidden")
	log.Logger(&out).Warn("shown", "table", "blogs")
	assert.Contains(t, out.String(), `"level":"WARN","msg":"shown","table":"blogs"`)
	assert.NotContains(t, out.String(), "hidden")

	out.Reset()
	log.Format = "text"
	log.Logger(&out).Warn("shown")
	assert.Contains(t, out.String(), "level=WARN msg=shown")
}

func TestAllNamesEverySettingOnce(t *testing.T) {
	variables, flags := map[string]bool{}, map[string]bool{}
	for _, v := range config.All() {
		assert.NotEmpty(t, v.Usage, v.Name)
		assert.Regexp(t, `^[A-Z][A-Z0-9_]+$`, v.Name)
		assert.Regexp(t, `^[a-z][a-z0-9-]+$`, v.Flag)
		assert.False(t, variables[v.Name] || flags[v.Flag], "%s twice", v.Name)
		variables[v.Name], flags[v.Flag] = true, true
		if v.Secret {
			assert.Empty(t, v.Default, v.Name)
		}
	}
	for _, name := range []string{
		"DATABASE_URL", "DB_MIN_CONNECTIONS", "DB_MAX_CONNECTIONS", "DB_CONNECTION_TIMEOUT", "DB_COMMAND_TIMEOUT",
		"REDIS_URL", "REDIS_HOST", "REDIS_PORT", "NATS_URL", "FRESHET_HTTP_ADDR", "FRESHET_ADMIN_TOKEN",
		"FRESHET_DEV_POSTGRES_PORT", "FRESHET_DEV_REDIS_PORT", "FRESHET_DEV_NATS_PORT",
	} {
		assert.True(t, variables[name], "operators know the name %s", name)
	}
}
