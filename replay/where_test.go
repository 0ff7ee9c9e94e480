package replay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"freshet/events"
	"freshet/replay"
)

func TestWhere(t *testing.T) {
	c := &events.Change{
		Op:  events.Update,
		Key: events.Row{{Name: "id", Value: "42"}},
		Old: events.Row{{Name: "status", Value: "draft"}, {Name: "author", Null: true}},
		New: events.Row{{Name: "status", Value: "published"}, {Name: "title", Value: "it's = so"}, {Name: "views", Value: "1000"}, {Name: "author", Null: true}},
	}
	for text, want := range map[string]bool{
		"new.status = published":                             true,
		"new.status=published":                               true,
		"new.status = draft":                                 false,
		"new.status = published and old.status != published": true,
		"new.status = published AND old.status <> draft":     false,
		"op = update":                                        true,
		"op = delete":                                        false,
		"key.id = 42":                                        true,
		"key.id = 42.0":                                      true,
		"new.views >= 999.5":                                 true,
		"new.views < 999":                                    false,
		"new.views > 1e3":                                    false,
		"new.views <= 1000":                                  true,
		"new.title = 'it''s = so'":                           true,
		"new.title > 'it'":                                   true,
		"new.author is null":                                 true,
		"new.author is not null":                             false,
		"new.author = x":                                     false,
		"new.author != x":                                    false,
		"new.absent is null":                                 false,
		"new.absent != x":                                    false,
		"new.status is not null and key.id = 42 and op=update": true,
		"old.status = 'draft' and new.author is null":          true,
	} {
		where, err := replay.ParseWhere(text)
		require.NoError(t, err, text)
		require.Equal(t, want, where(c), text)
	}
	for text, want := range map[string]string{
		"":                       "expected a comparison",
		"new.a":                  "expected a comparison",
		"new.a = ":               "expected a comparison",
		"a = b":                  `"a" cannot be compared`,
		"new. = b":               `"new." cannot be compared`,
		"'op' = b":               `"op" cannot be compared`,
		"new.a ~ b":              `"~" is no comparison`,
		"new.a == b":             `"==" is no comparison`,
		"new.a = b or new.a = c": `expected "and", not "or"`,
		"new.a = b new.a = c":    `expected "and"`,
		"new.a = b and":          "expected a comparison",
		"new.a = 'b":             "a ' is never closed",
		"new.a is b":             `expected "null" or "not null"`,
		"new.a is not b":         `expected "null" or "not null"`,
	} {
		_, err := replay.ParseWhere(text)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "the condition \""+text+"\"")
	}
}

func FuzzParseWhere(f *testing.F) {
	for _, seed := range []string{"new.a = b", "op='x''y' and old.c is not null", "key.id<>4", "'", "new.a = 'b"} {
		f.Add(seed)
	}
	c := &events.Change{Op: events.Insert, New: events.Row{{Name: "a", Value: "b"}}}
	f.Fuzz(func(_ *testing.T, text string) {
		if where, err := replay.ParseWhere(text); err == nil {
			where(c)
		}
	})
}
