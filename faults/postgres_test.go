package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// postgresOptions let a slot be invalidated by little WAL.
func postgresOptions(*testing.T) options {
	return options{postgres: map[string]string{"max_slot_wal_keep_size": "16MB", "min_wal_size": "32MB", "max_wal_size": "32MB", "wal_keep_size": "0"}}
}

const slot = "freshet_" + source

var postgresFaults = []fault{
	{name: "restarted", short: true, fails: true, strike: func(s *site) {
		s.killed(s.db.Server, 0)
	}},
	{name: "slot dropped", strike: func(s *site) {
		s.until("the slot is dropped", func() bool {
			c, err := s.primary(s.ctx)
			require.NoError(s.t, err)
			defer closeConn(c)
			_, err = c.Exec(s.ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", slot)
			require.NoError(s.t, err)
			_, err = c.Exec(s.ctx, "SELECT pg_drop_replication_slot($1)", slot)
			return err == nil
		})
	}},
	{name: "slot invalidated by max_slot_wal_keep_size", strike: func(s *site) {
		s.cdc.Kill()
		s.until("the slot is invalidated", func() bool {
			s.exec("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 100000)); SELECT pg_switch_wal()")
			s.exec("CHECKPOINT")
			var lost bool
			c, err := s.primary(s.ctx)
			require.NoError(s.t, err)
			defer closeConn(c)
			require.NoError(s.t, c.QueryRow(s.ctx, "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = $1", slot).Scan(&lost))
			return lost
		})
		s.cdc.start()
	}},
	{name: "a synchronous standby that hangs for 5 s", strike: func(s *site) {
		s.synchronous("ghost")
		s.hold(5 * time.Second)
		s.synchronous("")
	}},
	{name: "backends terminated in mid-commit", fails: true, strike: func(s *site) {
		for range 5 {
			s.synchronous("ghost")
			s.hold(shortly / 5)
			s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			s.synchronous("")
			s.hold(shortly / 5)
		}
	}},
	{
		name: "a crash that loses what synchronous_commit = off had acknowledged", fails: true, short: true,
		before: func(s *site) {
			s.exec("ALTER SYSTEM SET synchronous_commit = off")
			// Nothing is to flush the WAL: neither time, nor a megabyte of it, nor a dirty page that is written.
			s.exec("ALTER SYSTEM SET wal_writer_delay = '10s'")
			s.exec("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
			s.exec("ALTER SYSTEM SET bgwriter_lru_maxpages = 0")
			s.exec("SELECT pg_reload_conf()")
			s.hold(shortly / 2)
			s.cdc.Signal(syscall.SIGSTOP) // it would have the WAL flushed
			s.hold(shortly / 4)
		},
		strike: func(s *site) {
			s.killed(s.db.Server, 0)
			s.cdc.Signal(syscall.SIGCONT)
			s.exec("ALTER SYSTEM RESET ALL")
			s.exec("SELECT pg_reload_conf()")
		},
	},
	{name: "every backend terminated", fails: true, strike: func(s *site) {
		for range 5 {
			s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type IN ('client backend', 'walsender')")
			s.hold(shortly / 5)
		}
	}},
}

// synchronous names the standby that every commit waits for; "" for none.
func (s *site) synchronous(standby string) {
	s.t.Helper()
	// A transaction that writes would itself wait.
	s.exec("ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'")
	s.exec("SELECT pg_reload_conf()")
}
