package config

import "regexp"

// Source names the source and its publication: what every process that reads or
// changes the publication or the stream must agree on.
type Source struct {
	Name        string // part of the stream's subjects and of the slot's name
	Publication string // lists the tables that registered shapes need
}

var (
	// A source's name is a NATS token and, behind "freshet_", a slot's name.
	sourceName = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	// Postgres: src/backend/replication/slot.c, ReplicationSlotValidateName.
	slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)
	// What needs no quotes in psql, within NAMEDATALEN.
	publicationName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
)

// Register adds the settings to s.
func (c *Source) Register(s *Set) {
	registerSource(s, &c.Name)
	registerPublication(s, &c.Publication, &c.Name)
}

// registerSource adds the source's name; several groups of settings share it.
func registerSource(s *Set, dst *string) {
	s.String(dst, "source", "FRESHET_SOURCE", "main", "name of the source",
		Validate("1 to 40 small letters, digits and _", sourceName.MatchString))
}

// registerPublication adds the publication's name, which follows from source.
func registerPublication(s *Set, dst, source *string) {
	s.String(dst, "publication", "FRESHET_PUBLICATION", "", "publication that cdc reads",
		Validate("1 to 63 small letters, digits and _, not a digit first", publicationName.MatchString),
		DefaultFrom("freshet_$FRESHET_SOURCE", func() string { return "freshet_" + *source }))
}
