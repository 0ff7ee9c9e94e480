package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is how many clients read at once, each waiting for its answer.
const connections = 32

// target is something to read from: the same generator reads all of them.
type target struct {
	addr  string
	paths []string // read in turn, each client beginning elsewhere
	// cached says that an answer that is no hit is not what was to be measured.
	cached bool
	// header is a line of the request, with its end; empty for none.
	header string
}

// loaded is what a target did.
type loaded struct {
	requests, misses int64
	elapsed          time.Duration
}

func (l *loaded) perSecond() float64 { return float64(l.requests) / l.elapsed.Seconds() }

func (l *loaded) add(more loaded) {
	l.requests += more.requests
	l.misses += more.misses
	l.elapsed += more.elapsed
}

// load reads the target for a while from all the connections. It is a wrk: prepared requests, and answers that are parsed no
// further than to their end, so that most of the machine is left to what is measured.
func load(ctx context.Context, t target, d time.Duration) (loaded, error) {
	clients := make([]*client, connections)
	for i := range clients {
		c, err := dial(ctx, t.addr)
		if err != nil {
			return loaded{}, err
		}
		defer c.conn.Close()
		if err := c.conn.SetDeadline(time.Now().Add(d + clientTimeout)); err != nil {
			return loaded{}, err
		}
		clients[i] = c
	}
	requests := make([][]byte, len(t.paths))
	for i, path := range t.paths {
		requests[i] = request(t.addr, path, t.header)
	}
	var count, misses atomic.Int64
	began := time.Now()
	end := began.Add(d)
	g, gctx := errgroup.WithContext(ctx)
	for i, c := range clients {
		g.Go(func() error {
			n, hits := int64(0), int64(0)
			for at := i * len(requests) / connections; time.Now().Before(end) && gctx.Err() == nil; at++ {
				answer, err := c.do(requests[at%len(requests)], nil)
				if err != nil {
					return fmt.Errorf("GET %s: %w", t.paths[at%len(t.paths)], err)
				}
				n++
				if answer.hit {
					hits++
				}
			}
			count.Add(n)
			misses.Add(n - hits)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return loaded{}, err
	}
	l := loaded{requests: count.Load(), elapsed: time.Since(began)}
	if t.cached || t.header != "" {
		l.misses = misses.Load()
	}
	return l, context.Cause(ctx)
}

// request is the text of a GET, with one more line of the header or none.
func request(addr, path, header string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\n" + header + "\r\n")
}

// client is one connection that asks and waits for the answer, over and over.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

// clientTimeout bounds what a client waits for: a server that hangs must not hang the run.
const clientTimeout = 10 * time.Second

func dial(ctx context.Context, addr string) (*client, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, conn.SetDeadline(time.Now().Add(clientTimeout))
}

// response is what is known of an answer.
type response struct {
	hit bool // Cache-Status says so
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("content-length:")
	cacheStatus   = []byte("cache-status:")
	hitWord       = []byte("; hit")
)

// do sends a request and reads the answer to its end. Its body goes to body, unless that is nil.
func (c *client) do(request []byte, body io.Writer) (response, error) {
	var r response
	if _, err := c.conn.Write(request); err != nil {
		return r, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return r, err
	}
	if !bytes.HasPrefix(line, statusOK) {
		return r, fmt.Errorf("answered %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return r, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if value, ok := headerValue(line, contentLength); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return r, fmt.Errorf("Content-Length: %w", err)
			}
		} else if value, ok := headerValue(line, cacheStatus); ok {
			r.hit = bytes.Contains(value, hitWord)
		}
	}
	if length < 0 {
		return r, errors.New("an answer without Content-Length")
	}
	if body == nil {
		_, err = c.in.Discard(length)
	} else {
		_, err = io.CopyN(body, c.in, int64(length))
	}
	return r, err
}

// headerValue returns a header's value if the line is of that header; name is in small letters, with its colon.
func headerValue(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

// got is one answer with its body.
type got struct {
	response
	body []byte
}

// get reads one path on a connection of its own.
func get(ctx context.Context, addr, path string) (got, error) {
	all, err := getAll(ctx, addr, []string{path})
	if err != nil {
		return got{}, err
	}
	return all[0], nil
}

// getAll reads paths one after the other on one connection.
func getAll(ctx context.Context, addr string, paths []string) ([]got, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	answers := make([]got, len(paths))
	for i, path := range paths {
		var body bytes.Buffer
		r, err := c.do(request(addr, path, ""), &body)
		if err != nil {
			return nil, fmt.Errorf("GET %s: %w", path, err)
		}
		answers[i] = got{r, body.Bytes()}
	}
	return answers, nil
}
