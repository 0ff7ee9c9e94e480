package query

import (
	"errors"
	"fmt"
	"slices"
)

// Error is a problem of a query file.
type Error struct {
	File string // path as loaded
	Line int    // 1 is the first; 0 is the file as a whole
	Msg  string
	Err  error // the cause, such as a *pgconn.PgError, or nil
}

// Error returns "file:line: message".
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ParamError is a value in a request that a parameter does not admit.
type ParamError struct {
	Param string // "" when it is the body as a whole
	Msg   string // what is wrong, fit for the one who sent it
}

// Error returns "parameter: message".
func (e *ParamError) Error() string {
	if e.Param == "" {
		return e.Msg
	}
	return e.Param + ": " + e.Msg
}

// ParamErrors returns every *ParamError in an error of [Query.Bind] or [ParseBody], in order.
func ParamErrors(err error) []*ParamError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*ParamError
		for _, e := range joined.Unwrap() {
			all = append(all, ParamErrors(e)...)
		}
		return all
	}
	if p, ok := errors.AsType[*ParamError](err); ok {
		return []*ParamError{p}
	}
	return nil
}

// problems collects the errors of one file.
type problems struct {
	file string
	errs []*Error
}

func (p *problems) add(line int, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.file, Line: line, Msg: fmt.Sprintf(format, args...)})
}

// join returns all the problems in the order of their lines, or nil.
func (p *problems) join() error {
	slices.SortStableFunc(p.errs, func(a, b *Error) int { return a.Line - b.Line })
	errs := make([]error, len(p.errs))
	for i, e := range p.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}
