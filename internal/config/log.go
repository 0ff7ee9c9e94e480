package config

import (
	"io"
	"log/slog"
)

// Log is what a process logs and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Register adds the settings to s.
func (l *Log) Register(s *Set) {
	s.String(&l.Level, "log-level", "FRESHET_LOG_LEVEL", "info",
		"least level that is logged: debug, info, warn, error", OneOf("debug", "info", "warn", "error"))
	s.String(&l.Format, "log-format", "FRESHET_LOG_FORMAT", "text",
		"form of the log lines: text, json", OneOf("text", "json"))
}

// Logger returns a logger that writes to w as the settings say.
func (l *Log) Logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	// Check has refused any level that slog does not know; without a Check the
	// level stays at info.
	_ = level.UnmarshalText([]byte(l.Level))
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
