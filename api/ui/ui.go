// Package ui is the page to watch a cache on: HTML, CSS and JavaScript without a build step, embedded.
//
// It holds nothing secret, and asks for nothing outside of the server that it comes from. What it shows it reads from the endpoints under
// /performance, with the token that its reader gives.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed index.html app.css icon.svg *.js vendor
var files embed.FS

// policy lets the page load nothing but its own files, and nobody frame it.
const policy = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// types are those of the files; the system's list of them is not asked, which differs from machine to machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// file is a file of the page, with its digest.
type file struct {
	content []byte
	etag    string
}

var all = load()

// load reads every file that is served: those with a type.
func load() map[string]file {
	loaded := map[string]file{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || types[path.Ext(name)] == "" {
			return err
		}
		content, err := files.ReadFile(name)
		sum := sha256.Sum256(content)
		loaded[name] = file{content, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	return loaded
}

// Path is where the page is served, and Files the paths of what it loads.
const (
	Path  = "/ui"
	Files = "/ui/*"
)

// ServeHTTP answers GET and HEAD of the page and of its files.
func ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, Path), "/")
	if name == "" {
		name = "index.html"
	}
	f, there := all[name]
	if !there {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", types[path.Ext(name)])
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // kept, and asked for again each time: a new version is seen at once
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.content))
}
