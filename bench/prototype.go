package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"freshet/internal/postgres"
)

// The prototype is the shortest program that makes the same hops as Freshet, rule 1's barrier included: replication connection,
// one look at the snapshot, a message in a JetStream file stream, a push consumer, one UNLINK. It knows one table, reads of a
// row its id only, survives no restart, and promises nothing that would cost time.

const (
	prototypeSlot        = "bench_prototype"
	prototypePublication = "bench_prototype"
	prototypeStream      = "bench-prototype"
	prototypeSubject     = "bench.prototype"
	prototypeTable       = "bench_blogs"
	prototypeKey         = "bench:blogs:id=" // the row's id follows
)

func prototypeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prototype", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPrototype(cmd.Context()) },
	}
}

// runPrototype runs until ctx ends.
func runPrototype(ctx context.Context) error {
	conn, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: prototypeStream, Subjects: []string{prototypeSubject}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return fmt.Errorf("create the prototype's stream: %w", err)
	}
	stop, err := clearPushed(ctx, stream)
	if err != nil {
		return err
	}
	defer stop()
	err = publishCommitted(ctx, os.Getenv("DATABASE_URL"), js)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// clearPushed deletes the key of each id that the stream pushes.
func clearPushed(ctx context.Context, stream jetstream.Stream) (stop func(), err error) {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(options)
	consumer, err := stream.CreatePushConsumer(ctx, jetstream.ConsumerConfig{
		DeliverSubject: nats.NewInbox(), AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		return nil, fmt.Errorf("create the prototype's consumer: %w", err)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		// A failure shows as a key that is never cleared.
		_ = client.Unlink(ctx, prototypeKey+string(m.Data())).Err()
	})
	if err != nil {
		return nil, fmt.Errorf("consume the prototype's stream: %w", err)
	}
	return func() {
		consuming.Stop()
		_ = client.Close() // nothing is buffered in it
	}, nil
}

// publishCommitted publishes the id of each changed row once its transaction is visible.
func publishCommitted(ctx context.Context, url string, js jetstream.JetStream) error {
	sql, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer sql.Close(context.WithoutCancel(ctx)) // the end of the program
	repl, err := replicate(ctx, sql, url)
	if err != nil {
		return err
	}
	defer repl.Close(context.WithoutCancel(ctx)) // the end of the program
	var received atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sendStatus(ctx, repl, &received) })
	g.Go(func() error {
		var xid uint32
		var id []byte
		for {
			m, err := repl.ReceiveMessage(context.Background()) // sendStatus ends the read
			if err != nil {
				return err
			}
			data, ok := m.(*pgproto3.CopyData)
			if !ok || len(data.Data) < xlogHeader+1 || data.Data[0] != pglogrepl.XLogDataByteID {
				continue
			}
			received.Store(binary.BigEndian.Uint64(data.Data[1:]))
			switch m := data.Data[xlogHeader:]; m[0] {
			case 'B':
				xid = binary.BigEndian.Uint32(m[1+8+8:])
			case 'U':
				if id, err = firstColumn(m); err != nil {
					return err
				}
			case 'C':
				if err := awaitVisible(ctx, sql, xid); err != nil {
					return err
				}
				if _, err := js.Publish(ctx, prototypeSubject, id); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

// xlogHeader is the size of what precedes the plugin's message: kind, two positions and a time.
const xlogHeader = 1 + 8 + 8 + 8

func replicate(ctx context.Context, sql *pgx.Conn, url string) (*pgconn.PgConn, error) {
	if _, err := sql.Exec(ctx, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", prototypeSlot); err != nil {
		return nil, fmt.Errorf("create the prototype's slot: %w", err)
	}
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["replication"] = "database"
	repl, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return repl, pglogrepl.StartReplication(ctx, repl, prototypeSlot, 0, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names '" + prototypePublication + "'"},
	})
}

// sendStatus tells the walsender every second that all is well, and ends the reading with ctx.
func sendStatus(ctx context.Context, repl *pgconn.PgConn, received *atomic.Uint64) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return repl.Conn().SetReadDeadline(time.Now())
		case <-tick.C:
		}
		if p := pglogrepl.LSN(received.Load()); p > 0 {
			if err := pglogrepl.SendStandbyStatusUpdate(ctx, repl, pglogrepl.StandbyStatusUpdate{WALWritePosition: p}); err != nil {
				return err
			}
		}
	}
}

// firstColumn is the text of the first column of the old row of an update (REPLICA IDENTITY FULL).
func firstColumn(m []byte) ([]byte, error) {
	const header = 1 + 4 + 1 + 2 + 1 // kind, relation, 'O', number of columns, kind of the first
	if len(m) < header+4 || m[5] != 'O' || m[header-1] != 't' {
		return nil, errors.New("an update without the old row's first column")
	}
	size := int(binary.BigEndian.Uint32(m[header:]))
	if len(m) < header+4+size {
		return nil, errors.New("an update that ends early")
	}
	return append([]byte(nil), m[header+4:header+4+size]...), nil
}

// visiblePoll is the pause between two looks. Without one, the looking takes on a busy machine the very CPU that the committing
// backend needs to become visible: tens of milliseconds.
const visiblePoll = 200 * time.Microsecond

// awaitVisible is rule 1 for one transaction.
func awaitVisible(ctx context.Context, sql *pgx.Conn, xid uint32) error {
	for {
		s, err := postgres.CurrentSnapshot(ctx, sql)
		if err != nil || s.Visible(xid) {
			return err
		}
		if err := sleepUntil(ctx, time.Now().Add(visiblePoll)); err != nil {
			return err
		}
	}
}
