package query

import "errors"

// Unique refuses queries that share a name or a route: for lists that were put together from several folders.
func Unique(queries []*Query) error { return errors.Join(duplicates(queries)...) }
