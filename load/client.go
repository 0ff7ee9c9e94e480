package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// server is where the api listens.
type server struct {
	addr, host string // host is what the header says
	prefix     string // of all paths
	tls        bool
}

func parseServer(raw string) (server, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return server{}, fmt.Errorf("%q is not the URL of an api, such as http://127.0.0.1:8080", raw)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return server{addr: net.JoinHostPort(u.Hostname(), port), host: u.Host, prefix: strings.TrimSuffix(u.EscapedPath(), "/"), tls: u.Scheme == "https"}, nil
}

// request is one question of a user.
type request struct {
	query   string // the name of the query that answers
	method  string
	path    string // escaped, with the parameters
	body    []byte
	noStore bool // the answer is to come from Postgres
}

// source is where an answer came from, as its Cache-Status says.
type source int

const (
	sourceNone   source = iota // it does not say: a write, an error
	sourceCache                // a hit
	sourceMiss                 // from Postgres, and into the cache
	sourceBypass               // from Postgres, past the cache
)

// answer is what is known of an answer.
type answer struct {
	status int
	source source
	reason string // why the cache was passed by
	body   []byte // only if it was asked for
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// client is one connection that asks and waits for the answer, over and over. net/http's transport would hand each request through two
// goroutines and back, which costs about as much as the api needs for a hit: on one machine that would measure the load itself. The
// answer is parsed by net/http.
type client struct {
	server server
	token  string
	conn   net.Conn
	in     *bufio.Reader
	out    bytes.Buffer
	forget func() bool // the context that ends the connection
}

func newClient(s server, token string) *client { return &client{server: s, token: token} }

const (
	// clientTimeout bounds a request. Longer than that is an error.
	clientTimeout = 10 * time.Second
	dialTimeout   = 3 * time.Second
)

// do sends a request and reads the answer to its end. After an error the connection is made anew.
func (c *client) do(ctx context.Context, q request) (answer, error) {
	return c.ask(ctx, q, io.Discard)
}

// get is do with the body of the answer.
func (c *client) get(ctx context.Context, path string) (answer, error) {
	var body bytes.Buffer
	a, err := c.ask(ctx, request{method: http.MethodGet, path: path}, &body)
	a.body = body.Bytes()
	return a, err
}

func (c *client) ask(ctx context.Context, q request, body io.Writer) (answer, error) {
	if err := c.dial(ctx); err != nil {
		return answer{}, err
	}
	a, again, err := c.exchange(ctx, q, body)
	if err != nil || !again {
		c.close()
	}
	return a, err
}

func (c *client) dial(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	var conn net.Conn
	var err error
	if c.server.tls {
		conn, err = (&tls.Dialer{NetDialer: dialer}).DialContext(ctx, "tcp", c.server.addr)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", c.server.addr)
	}
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 16<<10)
	// Whoever interrupts a run need not wait for an api that hangs.
	c.forget = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return nil
}

func (c *client) close() {
	if c.conn == nil {
		return
	}
	c.forget()
	_ = c.conn.Close() // all that was asked has been answered, or never will be
	c.conn = nil
}

func (c *client) exchange(ctx context.Context, q request, body io.Writer) (a answer, again bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return a, false, err
	}
	c.format(q)
	if _, err := c.conn.Write(c.out.Bytes()); err != nil {
		return a, false, err
	}
	resp, err := http.ReadResponse(c.in, nil) // what it reads is of the connection's deadline, and the context's
	if err != nil {
		return a, false, errors.Join(context.Cause(ctx), err)
	}
	_, err = io.Copy(body, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return a, false, err
	}
	a.status = resp.StatusCode
	a.source, a.reason = parseCacheStatus(resp.Header.Get("Cache-Status"))
	return a, !resp.Close, nil
}

// format writes the request's text.
func (c *client) format(q request) {
	b := &c.out
	b.Reset()
	for _, part := range []string{q.method, " ", c.server.prefix, q.path, " HTTP/1.1\r\nHost: ", c.server.host, "\r\nAccept: application/json\r\n"} {
		b.WriteString(part)
	}
	if q.noStore {
		b.WriteString("Cache-Control: no-store\r\n")
	}
	if q.method != http.MethodGet {
		b.WriteString("Authorization: Bearer " + c.token + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(q.body)) + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(q.body)
}

// parseCacheStatus reads a Cache-Status of ours (RFC 9211).
func parseCacheStatus(header string) (s source, reason string) {
	for part := range strings.SplitSeq(header, ";") {
		switch part = strings.TrimSpace(part); {
		case part == "hit":
			s = sourceCache
		case part == "fwd=miss":
			s = sourceMiss
		case part == "fwd=bypass":
			s = sourceBypass
		case strings.HasPrefix(part, "detail="):
			reason = strings.TrimPrefix(part, "detail=")
		}
	}
	if s != sourceBypass {
		reason = ""
	}
	return s, reason
}
