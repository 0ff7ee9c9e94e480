// Package faults breaks everything that Freshet runs on while it is under load, and judges every answer exactly.
//
// It is a test of the whole: real processes of the real program, real servers, readers of every kind by HTTP, writers by SQL. What
// was written when is known of every row, also where it was or that it was gone, so that no answer needs to be believed: a read that
// asked for no-cache has to be linearizable (porcupine checks the history of each row), one with a position must show at least what its
// session has seen or written, a bounded one must not be older than it may be, nor than its Age says, and what is shown together must
// have been so at one moment. After each fault everybody pauses and all that is cached is compared with the database.
//
// make test runs one fault of each group; make faults runs them all and writes the table in docs/faults.md.
package faults
