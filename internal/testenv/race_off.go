//go:build !race

package testenv

// raceEnabled says that the tests run with the race detector, so that our program should too.
const raceEnabled = false
