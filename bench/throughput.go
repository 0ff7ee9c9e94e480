package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"freshet/events"
	"freshet/internal/postgres"
)

const (
	source      = "main"
	slot        = "freshet_main"
	publication = "freshet_main"
	recvSlot    = "bench_recv"
	// backlogPatience bounds the time for one backlog.
	backlogPatience = time.Minute
	// throughputRounds is how often pg_recvlogical and cdc take turns.
	throughputRounds = 2
)

// backlog is work that was committed while nobody was listening.
type backlog struct {
	name, unit string
	n          int
	// write commits the n units.
	write func(ctx context.Context, conn *pgx.Conn, n int) error
}

// measureThroughput measures how fast cdc goes through a backlog, alone and with the invalidator behind it, beside
// pg_recvlogical that throws everything away. Each begins with the start of its process, at the same place in the WAL.
func measureThroughput(ctx context.Context, r *rig, o options, rep *report) error {
	if err := r.stopOthers(); err != nil {
		return err
	}
	for _, b := range []backlog{
		{fmt.Sprintf("one transaction of %d rows", o.rows), "rows/s", o.rows, writeLarge},
		{fmt.Sprintf("%d single-row transactions", o.transactions), "tx/s", o.transactions, writeSmall},
	} {
		if err := r.measureBacklog(ctx, b, rep); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	rep.notef("throughput: updates of a table with REPLICA IDENTITY FULL, 150 bytes a row, whose key one shape pins; the start of the process is included on both sides.")
	return nil
}

// writeLarge updates every row in one transaction.
func writeLarge(ctx context.Context, conn *pgx.Conn, _ int) error {
	_, err := conn.Exec(ctx, "UPDATE bench_rows SET counter = counter + 1")
	return err
}

// writeSmall commits n updates of one row each. They are not what is measured, so they do not wait for the disk; the last
// commit does, and thereby all of them.
func writeSmall(ctx context.Context, conn *pgx.Conn, n int) error {
	loop := fmt.Sprintf(`DO $$
		BEGIN
			FOR i IN 1..%d LOOP
				UPDATE bench_rows SET counter = counter + 1 WHERE id = i;
				COMMIT;
			END LOOP;
		END $$`, n-1)
	// One by one: a DO that commits must not be part of a larger message.
	for _, sql := range []string{
		"SET synchronous_commit = off", loop, "RESET synchronous_commit", "UPDATE bench_rows SET counter = counter + 1 WHERE id = 1",
	} {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) measureBacklog(ctx context.Context, b backlog, rep *report) error {
	var alone drained
	var recv time.Duration
	for range throughputRounds {
		r.progress.beginf("%s: pg_recvlogical, then cdc alone", b.name)
		span, err := r.pile(ctx, b, false)
		if err != nil {
			return err
		}
		d, err := r.receive(ctx, span)
		if err != nil {
			return err
		}
		recv += d
		one, err := r.drain(ctx, span)
		if err != nil {
			return err
		}
		alone.took += one.took
		alone.start += one.start
		if err := r.catchUp(ctx, span); err != nil {
			return err
		}
	}
	r.progress.beginf("%s: cdc and invalidator", b.name)
	span, err := r.pile(ctx, b, true)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.startCDC(); err != nil {
		return err
	}
	if err := r.awaitApplied(ctx, span.end); err != nil {
		return err
	}
	whole := time.Since(began)

	rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	cdc := rate(throughputRounds*b.n, alone.took)
	rep.add("cdc, "+b.name, b.unit, cdc, "pg_recvlogical", rate(throughputRounds*b.n, recv))
	rep.add("cleared, "+b.name, b.unit, rate(b.n, whole), "cdc alone", cdc)
	rep.notef("%s: of cdc's %.0f ms %.0f were its start.", b.name, ms(alone.took)/throughputRounds, ms(alone.start)/throughputRounds)
	return nil
}

// span is the part of the WAL that a backlog takes.
type span struct{ begin, end events.Position }

// pile stops cdc where the slot has followed it to, copies the slot for pg_recvlogical, and writes the backlog. Without
// listening the invalidator is stopped too.
func (r *rig) pile(ctx context.Context, b backlog, listening bool) (span, error) {
	ctx, cancel := context.WithTimeout(ctx, backlogPatience)
	defer cancel()
	var s span
	if err := r.settle(ctx); err != nil {
		return s, err
	}
	errs := []error{r.cdc.stop()}
	if !listening {
		errs = append(errs, r.invalidator.stop())
	}
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return s, err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_copy_logical_replication_slot($1, $2)", slot, recvSlot); err != nil {
		return s, fmt.Errorf("copy the slot: %w", err)
	}
	if s.begin, err = r.position(ctx, conn); err != nil {
		return s, err
	}
	if err := b.write(ctx, conn.Conn(), b.n); err != nil {
		return s, fmt.Errorf("write the backlog: %w", err)
	}
	s.end, err = r.position(ctx, conn)
	if listening && err == nil {
		err = r.dropRecvSlot(ctx)
	}
	return s, err
}

// settle waits until the slot needs nothing of what was written before: what a walsender reads anew when it starts is then
// the backlog, and nothing else.
func (r *rig) settle(ctx context.Context) error {
	// It logs the running transactions, from which on the slot can restart.
	if _, err := r.pool.Exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	now, err := r.position(ctx, r.pool)
	if err != nil {
		return err
	}
	return until(ctx, "the slot has followed", func() (ok bool, err error) {
		err = r.pool.QueryRow(ctx, "SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE slot_name = $2",
			now.String(), slot).Scan(&ok)
		return ok, err
	})
}

// position is the end of the WAL, of its last record.
func (r *rig) position(ctx context.Context, db postgres.Querier) (events.Position, error) {
	var text string
	if err := db.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return 0, err
	}
	p, err := events.ParsePosition(text)
	if err != nil {
		return 0, err
	}
	wal, err := postgres.ReadWALGeometry(ctx, db)
	return events.Position(wal.End(uint64(p))), err
}

// pgRecvlogical finds the program: beside postgres, beside what postgres is a link to, or in PATH.
func (r *rig) pgRecvlogical() (string, error) {
	const name = "pg_recvlogical"
	postgres := filepath.Join(r.binDir, "postgres")
	if target, err := filepath.EvalSymlinks(postgres); err == nil {
		if path := filepath.Join(filepath.Dir(target), name); isProgram(path) {
			return path, nil
		}
	}
	if path := filepath.Join(r.binDir, name); isProgram(path) {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside %s nor in PATH (it is in Debian's package postgresql-client): %w", name, postgres, err)
	}
	return path, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// receive reads the backlog with pg_recvlogical.
func (r *rig) receive(ctx context.Context, s span) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, backlogPatience)
	defer cancel()
	program, err := r.pgRecvlogical()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, "--dbname", r.databaseURL, "--slot", recvSlot, "--start",
		"--startpos", s.begin.String(), "--endpos", s.end.String(), "--no-loop", "--file", "/dev/null",
		"--option", "proto_version=1", "--option", "publication_names="+publication)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("pg_recvlogical: %w\n%s", err, out)
	}
	return took, r.dropRecvSlot(ctx)
}

func (r *rig) dropRecvSlot(ctx context.Context) error {
	return until(ctx, "the copy of the slot is dropped", func() (bool, error) {
		_, err := r.pool.Exec(ctx, "SELECT pg_drop_replication_slot($1)", recvSlot)
		if postgres.IsCode(err, "55006") { // its walsender is just ending
			return false, nil
		}
		return err == nil, err
	})
}

// drained is how long cdc took for a backlog, its start included.
type drained struct{ took, start time.Duration }

// drain starts cdc and waits until the stream has the whole backlog.
func (r *rig) drain(ctx context.Context, s span) (drained, error) {
	ctx, cancel := context.WithTimeout(ctx, backlogPatience)
	defer cancel()
	first := make(chan time.Time, 1) // cdc has connected, decided where to go on, and says so
	reached := make(chan time.Time, 1)
	failed := make(chan error, 1)
	// A message of the stream goes to ordinary subscribers too.
	sub, err := r.conn.Subscribe(events.WatermarkSubject(source), func(m *nats.Msg) {
		send1(first, time.Now())
		w, err := events.DecodeWatermark(m.Data)
		switch {
		case err != nil:
			send1(failed, err)
		case w.Position >= s.end:
			send1(reached, time.Now())
		}
	})
	if err != nil {
		return drained{}, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection ends soon after
	if err := r.conn.Flush(); err != nil {
		return drained{}, err
	}
	began := time.Now()
	if err := r.startCDC(); err != nil {
		return drained{}, err
	}
	select {
	case at := <-reached:
		return drained{took: at.Sub(began), start: (<-first).Sub(began)}, nil
	case err := <-failed:
		return drained{}, err
	case <-ctx.Done():
		return drained{}, fmt.Errorf("waiting for cdc to reach %s: %w", s.end, context.Cause(ctx))
	}
}

func send1[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// catchUp starts the invalidator and waits until the cache has the whole backlog.
func (r *rig) catchUp(ctx context.Context, s span) error {
	if err := r.startInvalidator(); err != nil {
		return err
	}
	return r.awaitApplied(ctx, s.end)
}

// awaitApplied waits until the watermark of the cache is at or above a position.
func (r *rig) awaitApplied(ctx context.Context, end events.Position) error {
	ctx, cancel := context.WithTimeout(ctx, backlogPatience)
	defer cancel()
	return until(ctx, "the cache has reached "+end.String(), func() (bool, error) {
		text, err := r.client.HGet(ctx, "freshet:watermark", "position").Result()
		if err != nil {
			return false, fmt.Errorf("read the watermark: %w", err)
		}
		p, err := events.ParsePosition(text)
		return p >= end, err
	})
}
