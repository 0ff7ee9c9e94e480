package query

import "fmt"

// suggest returns `; did you mean "x"?` for the known word nearest to what was written, or "" if none is near.
func suggest(written string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := distance(written, k); d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the Levenshtein distance of two short words, in bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64 // far: nobody mistypes that much, and the work stays small
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
