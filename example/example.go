// Package example is the example application: the backend of a preparation site, written as SQL files only. Its tables
// and its data are in package migrations.
package example

import (
	"embed"
	"io/fs"
)

//go:embed queries/*.sql
var files embed.FS

// Queries returns the folder of the example's SQL files.
func Queries() fs.FS {
	sub, err := fs.Sub(files, "queries")
	if err != nil {
		panic(err) // only for a malformed path, and this one is not
	}
	return sub
}
