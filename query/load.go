package query

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Load parses every *.sql file of a folder and the folders in it, and returns the queries sorted by name. Files and
// folders whose name begins with a dot are passed over. The error joins every problem of every file, among them two
// files with one name or one route.
func Load(fsys fs.FS) ([]*Query, error) {
	var (
		queries []*Query
		errs    []error
	)
	err := fs.WalkDir(fsys, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); name != "." && strings.HasPrefix(name, ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() || path.Ext(file) != ".sql" {
			return nil
		}
		src, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		q, err := Parse(file, src)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		queries = append(queries, q)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the queries: %w", err)
	}
	if len(queries) == 0 && len(errs) == 0 {
		return nil, errors.New("read the queries: there is no .sql file")
	}
	errs = append(errs, duplicates(queries)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(queries, func(a, b *Query) int { return strings.Compare(a.Name, b.Name) })
	return queries, nil
}

// duplicates reports files that share a name or a route. The order of the queries is that of their files.
func duplicates(queries []*Query) []error {
	var errs []error
	names, routes := make(map[string]*Query), make(map[string]*Query)
	for _, q := range queries {
		if first := names[q.Name]; first != nil {
			errs = append(errs, &Error{File: q.File, Msg: fmt.Sprintf("the name %s is taken by %s", q.Name, first.File)})
		} else {
			names[q.Name] = q
		}
		route := routeForm(q)
		if first := routes[route]; first != nil {
			errs = append(errs, &Error{File: q.File, Msg: fmt.Sprintf("the route %s %s is taken by %s (%s %s)",
				q.Method, q.Path, first.File, first.Method, first.Path)})
		} else {
			routes[route] = q
		}
	}
	return errs
}

// routeForm is what two routes have in common that would answer the same requests: /blogs/:id and /blogs/:slug.
func routeForm(q *Query) string {
	segments := strings.Split(q.Path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, ":") {
			segments[i] = ":"
		}
	}
	return q.Method + " " + strings.Join(segments, "/")
}
