package api

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"

	"freshet/internal/telemetry"
)

// distinct estimates how many different entries of a query have been missed in the last hour, within about 3 %. It is HyperLogLog
// (Flajolet, Fusy, Gandouet and Meunier, 2007) with a sketch for each part of the hour; the sketch of the whole is their maximum.
type distinct struct {
	began time.Time

	mu    sync.Mutex
	parts [distinctParts]struct {
		number    int64
		registers []uint8 // nil until there is something
	}
}

const (
	distinctBits      = 10
	distinctRegisters = 1 << distinctBits
	distinctPart      = 5 * time.Minute
	distinctParts     = int64(telemetry.MaxSpan/distinctPart) + 1
)

var distinctSeed = maphash.MakeSeed()

func (d *distinct) add(name string) {
	hash := maphash.String(distinctSeed, name)
	register, rank := hash>>(64-distinctBits), uint8(bits.LeadingZeros64(hash<<distinctBits|1<<(distinctBits-1))+1)
	number := int64(time.Since(d.began) / distinctPart)
	d.mu.Lock()
	defer d.mu.Unlock()
	part := &d.parts[number%distinctParts]
	if part.registers == nil || part.number != number {
		part.number, part.registers = number, make([]uint8, distinctRegisters)
	}
	part.registers[register] = max(part.registers[register], rank)
}

// estimate is the number of different names that were added in the last hour.
func (d *distinct) estimate() int64 {
	oldest := int64(time.Since(d.began)/distinctPart) - distinctParts + 1
	var whole [distinctRegisters]uint8
	d.mu.Lock()
	for _, part := range d.parts {
		if part.registers != nil && part.number >= oldest {
			for i, rank := range part.registers {
				whole[i] = max(whole[i], rank)
			}
		}
	}
	d.mu.Unlock()
	sum, empty := 0.0, 0
	for _, rank := range whole {
		sum += math.Ldexp(1, -int(rank))
		if rank == 0 {
			empty++
		}
	}
	const m = float64(distinctRegisters)
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if empty > 0 && estimate <= 2.5*m { // few: counting empty registers is more exact
		estimate = m * math.Log(m/float64(empty))
	}
	return int64(math.Round(estimate))
}
