package advice

import (
	"fmt"
	"slices"
	"time"
)

// slots finds replication slots that keep WAL which the disk needs, or that are lost.
func slots(e *Evidence) (found []Finding) {
	if e.Postgres == nil {
		return nil
	}
	for _, s := range e.Postgres.Slots {
		severity := slotSeverity(s, e.Postgres.SlotLimit)
		if severity == "" {
			continue
		}
		f := Finding{
			ID: "slot.retains-wal", Subject: s.Name, Severity: severity,
			Title:    fmt.Sprintf("The replication slot %s keeps %s of WAL", s.Name, bytes(s.Retained)),
			Evidence: []Fact{size("WAL kept", s.Retained), text("wal_status", s.Status)},
		}
		if s.Ours {
			f.Weight = 1
		}
		if s.Safe >= 0 && e.Postgres.SlotLimit > 0 {
			f.Evidence = append(f.Evidence, size("may still be written before it can be lost (safe_wal_size)", s.Safe))
		}
		if e.Postgres.SlotLimit > 0 {
			f.Evidence = append(f.Evidence, size("max_slot_wal_keep_size", e.Postgres.SlotLimit))
		} else {
			f.Evidence = append(f.Evidence, text("max_slot_wal_keep_size", "no limit"))
		}
		f.Remedy = slotRemedy(e.Postgres, s)
		if s.Active && e.Postgres.Longest.Age >= MuchLag {
			f.Evidence = append(f.Evidence, duration("oldest transaction in progress", e.Postgres.Longest.Age))
		}
		if s.Status == "lost" {
			f.ID, f.Title = "slot.lost", fmt.Sprintf("The replication slot %s is lost: Postgres has removed WAL that it needs", s.Name)
		}
		found = append(found, f)
	}
	return found
}

// slotSeverity is empty for a slot that is in order.
func slotSeverity(s Slot, limit int64) Severity {
	limited := limit > 0 && s.Safe >= 0
	switch {
	case s.Status == "lost" && !s.Ours:
		return Warning // it keeps nothing any more, and serves nobody
	case s.Status == "lost", s.Status == "unreserved", limited && float64(s.Safe) < ScarceWAL*float64(limit):
		return Critical
	case !limited && s.Retained >= FarTooMuchWAL:
		return Critical
	case s.Status == "extended", s.Retained >= MuchWAL:
		return Warning
	}
	return ""
}

func slotRemedy(p *Postgres, s Slot) Remedy {
	drop := fmt.Sprintf("SELECT pg_drop_replication_slot('%s');", s.Name)
	limit := fmt.Sprintf("ALTER SYSTEM SET max_slot_wal_keep_size = '%s'; SELECT pg_reload_conf();", megabytes(max(2*FarTooMuchWAL, 2*s.Retained)))
	switch {
	case s.Status == "lost" && s.Ours:
		return Remedy{"Start cdc: it makes the slot anew, and everything is cleared, as changes are missing. Let a slot keep more WAL, so that a longer pause is none.", limit}
	case !s.Active && s.Ours:
		return Remedy{"cdc is not connected: start it, and it catches up. If Freshet is not used with this database any more, drop the slot.", drop}
	case !s.Active:
		return Remedy{"Nobody reads from it, and it is not Freshet's. Start what it is for; if there is no such thing any more, drop it.", drop}
	case p.Longest.Age >= MuchLag && p.Longest.PID != 0:
		return Remedy{fmt.Sprintf("cdc is connected, but a slot keeps the WAL of every transaction in progress, and the oldest (%s, %s) has lasted %s: end it, if it hangs.",
			p.Longest.Application, p.Longest.State, short(p.Longest.Age)), fmt.Sprintf("SELECT pg_terminate_backend(%d);", p.Longest.PID)}
	case p.SlotLimit > 0:
		return Remedy{"What reads it does not keep up: see where the lag is (NATS slow to acknowledge, the network). Let the slot keep more meanwhile.", limit}
	}
	return Remedy{"What reads it does not keep up: see where the lag is (NATS slow to acknowledge, the network). Nothing limits what the slot keeps: a limit makes " +
		"Postgres give the slot up before the disk is full. Freshet recovers from that by itself, with an empty cache.", limit}
}

// lag finds a log, or what is made of it, that is behind.
func lag(e *Evidence) []Finding {
	l := e.Lag
	if l == nil {
		return nil
	}
	hop, behind := "cdc", l.CDC
	if l.Invalidator > l.CDC {
		hop, behind = "the invalidator", l.Invalidator
	}
	old := l.MaxStaleness > 0 && l.WatermarkAge >= time.Duration(AgingWatermark*float64(l.MaxStaleness))
	if !old && behind < MuchLag {
		return nil
	}
	f := Finding{
		ID: "log.lag", Subject: "log", Severity: Warning, Weight: 1,
		Title:    fmt.Sprintf("The watermark is %s old: answers from the cache may be as old, and from %s on reads go to Postgres", short(l.WatermarkAge), short(l.MaxStaleness)),
		Evidence: []Fact{duration("age of the watermark", l.WatermarkAge), duration("max_staleness", l.MaxStaleness)},
		Remedy:   lagRemedy(e, hop, behind),
	}
	if l.CDC >= 0 {
		f.Evidence = append(f.Evidence, duration("cdc is behind", l.CDC), size("WAL that cdc has not published", l.CDCBytes))
	}
	if l.Invalidator >= 0 {
		f.Evidence = append(f.Evidence, duration("the invalidator is behind the log", l.Invalidator), count("messages that it has not applied", l.Messages))
	}
	if l.MaxStaleness > 0 && l.WatermarkAge >= l.MaxStaleness {
		f.Severity = Critical
		f.Title = fmt.Sprintf("The watermark is %s old, more than the %s that are allowed: reads go to Postgres", short(l.WatermarkAge), short(l.MaxStaleness))
	}
	return []Finding{f}
}

func lagRemedy(e *Evidence, hop string, behind time.Duration) Remedy {
	switch {
	case e.Redis == nil:
		return Remedy{"Redis does not say how it is: the watermark is there, and nothing can advance it without an answer. See that it is running, and reachable from the api.", "redis-cli --latency"}
	case e.Postgres != nil && slices.ContainsFunc(e.Postgres.Slots, func(s Slot) bool { return s.Ours && !s.Active }):
		return Remedy{"Nobody streams from the replication slot: start cdc; it goes on from where it was.", "curl -s http://127.0.0.1:8081/health/ready"}
	case e.Lag.Invalidator < 0:
		return Remedy{"No invalidator says that it is there and reaches NATS: start it; it goes on from where it was.", "curl -s http://127.0.0.1:8082/health/ready"}
	case behind < MuchLag:
		return Remedy{"Neither cdc nor the invalidator says that it is behind: one of them, or NATS, does not run, or does not answer.",
			"curl -s http://127.0.0.1:8081/health/ready; curl -s http://127.0.0.1:8082/health/ready"}
	case hop != "cdc":
		return Remedy{"The invalidator does not keep up: see how long Redis takes, and whether coarse shapes make it clear much (other findings say so).", "redis-cli --latency"}
	case e.Postgres != nil && e.Postgres.Longest.Age >= behind && e.Postgres.Longest.PID != 0 && e.Postgres.Longest.State != "active":
		return Remedy{fmt.Sprintf("A transaction (%s) has been idle for as long as the lag: end it, if it hangs.", e.Postgres.Longest.Application),
			fmt.Sprintf("SELECT pg_terminate_backend(%d);", e.Postgres.Longest.PID)}
	}
	return Remedy{"cdc does not keep up, or waits: a large transaction (it passes), NATS that is slow to acknowledge, or a synchronous standby that does not answer, " +
		"without which nothing becomes visible.", "SELECT application_name, state, sync_state, write_lag, flush_lag, replay_lag FROM pg_stat_replication;"}
}

// days is a long time in whole days, or as it is.
func days(d time.Duration) string {
	if n := int64(d / (24 * time.Hour)); n > 1 {
		return grouped(n) + " days"
	}
	return short(d)
}
