package warm

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"freshet/query"
)

// State is where a warm-up keeps how far it is, so that another process can go on with it. It is a small file, which is written anew
// about once a second, and beside it, once the log is read, a file with the pairs. Each is written whole and then renamed: whenever the
// process is killed, there is a state that was true.
type State struct {
	Path string

	saved saved
}

// saved is the small file.
type saved struct {
	Version int   `json:"version"`
	Asked   Asked `json:"asked"`
	// Pairs identifies the file of the pairs; empty while the log is being read.
	Pairs string `json:"pairs,omitempty"`
	Next  int    `json:"next"`
	Tally Tally  `json:"tally"`
	More  bool   `json:"more"`
}

const stateVersion = 1

// ErrNoState says that there is no warm-up to go on with.
var ErrNoState = errors.New("there is no warm-up to go on with")

// Begin begins a new warm-up; one that was there before is forgotten.
func (s *State) Begin(asked Asked) error {
	s.saved = saved{Version: stateVersion, Asked: asked}
	return s.write()
}

// Resume reads the warm-up that is there. read is false if the log was not read to its end: there are no pairs yet.
func (s *State) Resume() (asked Asked, read bool, err error) {
	raw, err := os.ReadFile(s.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return asked, false, fmt.Errorf("%w: %s is not there", ErrNoState, s.Path)
	case err != nil:
		return asked, false, fmt.Errorf("read the state: %w", err)
	}
	if err := json.Unmarshal(raw, &s.saved); err != nil {
		return asked, false, fmt.Errorf("%w: %s cannot be read: %w", ErrNoState, s.Path, err)
	}
	if s.saved.Version != stateVersion {
		return asked, false, fmt.Errorf("%w: %s is of another version of freshet", ErrNoState, s.Path)
	}
	return s.saved.Asked, s.saved.Pairs != "", nil
}

// SavePairs keeps what was found.
func (s *State) SavePairs(f *Found) error {
	id := rand.Text()
	err := replaceFile(s.pairsPath(), func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		if err := encoder.Encode(id); err != nil {
			return err
		}
		for _, p := range f.Pairs {
			if err := encoder.Encode([2]string{p.Query.Name, p.Args.Key()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.saved.Pairs, s.saved.More = id, f.More
	return s.write()
}

// Kept is a warm-up that can be gone on with.
type Kept struct {
	Found
	// Next is the first pair that is not done; Tally counts those before it.
	Next  int
	Tally Tally
}

// Kept reads what was found, and how far it is. A pair that its query does not admit any more is an error: the files are others.
func (s *State) Kept(queries []*query.Query) (*Kept, error) {
	fail := func(err error) (*Kept, error) {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoState, s.pairsPath(), err)
	}
	file, err := os.Open(s.pairsPath())
	if err != nil {
		return fail(err)
	}
	defer func() { _ = file.Close() }() // opened for reading
	byName := map[string]*query.Query{}
	for _, q := range queries {
		byName[q.Name] = q
	}
	decoder := json.NewDecoder(bufio.NewReader(file))
	var id string
	if err := decoder.Decode(&id); err != nil || id != s.saved.Pairs {
		return fail(errors.New("is of another warm-up"))
	}
	k := &Kept{Found: Found{More: s.saved.More}, Next: s.saved.Next, Tally: s.saved.Tally.clone()}
	for {
		var one [2]string
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(err)
		}
		q := byName[one[0]]
		if q == nil {
			return fail(fmt.Errorf("has a query %s, which there is not any more", one[0]))
		}
		args, err := q.ParseKey(one[1])
		if err != nil {
			return fail(fmt.Errorf("has parameters of the query %s that it does not admit any more", one[0]))
		}
		k.Pairs = append(k.Pairs, Pair{q, args})
	}
	if k.Next > len(k.Pairs) {
		return fail(errors.New("has too few pairs"))
	}
	return k, nil
}

// Save keeps how far it is: the function that a Job has.
func (s *State) Save(next int, t Tally) error {
	s.saved.Next, s.saved.Tally = next, t
	return s.write()
}

// Forget removes it all: the warm-up is done.
func (s *State) Forget() error {
	err := os.Remove(s.Path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if other := os.Remove(s.pairsPath()); !errors.Is(other, os.ErrNotExist) {
		err = errors.Join(err, other)
	}
	if err != nil {
		return fmt.Errorf("remove the state: %w", err)
	}
	return nil
}

func (s *State) pairsPath() string { return s.Path + ".pairs" }

func (s *State) write() error {
	return replaceFile(s.Path, func(w io.Writer) error { return json.NewEncoder(w).Encode(s.saved) })
}

// replaceFile writes a file in one step: whoever reads it finds all of the old one, or all of the new one. The folder is made. Parameters can be
// confidential: the file is for its owner alone.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the state of the warm-up: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	if err := errors.Join(write(w), w.Flush(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
