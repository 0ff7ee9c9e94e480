package freshet

import (
	_ "github.com/jackc/pglogrepl"
	_ "github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/nats-io/nats.go/jetstream"
	_ "github.com/nats-io/nats-server/v2/server"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/labstack/echo/v4/middleware"
	_ "github.com/pressly/goose/v3"
	_ "github.com/spf13/cobra"
	_ "golang.org/x/sync/errgroup"
	_ "go.uber.org/goleak"
	_ "github.com/stretchr/testify/require"
)
