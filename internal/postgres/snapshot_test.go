package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSnapshotVisible(t *testing.T) {
	for _, tt := range []struct {
		name, snapshot string
		xid            uint32
		want           bool
	}{
		{"before xmin", "100:100:", 99, true},
		{"at xmax, nothing in progress", "100:100:", 100, false},
		{"in progress", "100:110:100,105", 105, false},
		{"ended between two in progress", "100:110:100,105", 103, true},
		{"after xmax", "100:110:100", 115, false},
		{"an epoch later", "4294967400:4294967500:", 90, true},
		{"an epoch later, at xmax", "4294967400:4294967500:", 204, false},
		{"before the wrap, seen after it", "4294967290:4294967400:4294967290", 4294967290, false},
		{"before the wrap, ended", "4294967290:4294967400:4294967290", 4294967291, true},
		{"after the wrap, seen before it", "4294967200:4294967290:", 5, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSnapshot(tt.snapshot)
			require.NoError(t, err)
			require.Equal(t, tt.want, s.Visible(tt.xid))
		})
	}
	for _, bad := range []string{"", "1:2", "a:2:", "1:b:", "1:2:c", "1:2:3:4"} {
		_, err := ParseSnapshot(bad)
		require.Error(t, err, bad)
	}
}

func TestWALGeometryEnd(t *testing.T) {
	g := WALGeometry{PageSize: 8192, SegmentSize: 16 << 20}
	for insert, want := range map[uint64]uint64{
		16<<20 + 40:        16 << 20,      // past the long header of a segment
		16<<20 + 8192 + 24: 16<<20 + 8192, // past the short header of a page
		16<<20 + 24:        16<<20 + 24,   // no header ends here
		16<<20 + 8192 + 40: 16<<20 + 8192 + 40,
		16<<20 + 4711:      16<<20 + 4711,
	} {
		require.Equal(t, want, g.End(insert))
	}
}
