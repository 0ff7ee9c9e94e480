package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"freshet/internal/servers/child"
)

// stopPatience bounds the orderly end of one program.
const stopPatience = 15 * time.Second

// program is a process that must run as long as it is measured: its death ends the run, with its last lines.
type program struct {
	name    string
	proc    *child.Process
	stopped atomic.Bool
}

// start runs a program that is watched until it is stopped.
func (r *rig) start(name, path string, env []string, args ...string) (*program, error) {
	proc, err := child.Start(child.Options{Path: path, Args: args, Env: append(cleanEnv(), env...), Dir: r.dir})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &program{name: name, proc: proc}
	r.watched.Go(func() {
		<-proc.Done()
		if !p.stopped.Load() {
			r.cancel(fmt.Errorf("%s, which nobody stopped: %w", name, cmp.Or(proc.Err(), errStatusZero)))
		}
	})
	return p, nil
}

var errStatusZero = errors.New("it ended with exit status 0")

// stop ends the program in order and waits for it. Stopping twice, or a program that was never started, is safe.
func (p *program) stop() error {
	if p == nil || p.stopped.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := p.proc.Stop(ctx, syscall.SIGTERM, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// cleanEnv is our environment without the settings of Freshet: those of whoever calls must not change what is measured.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		own := name == "DATABASE_URL"
		for _, prefix := range []string{"FRESHET_", "DB_", "REDIS_", "NATS_"} {
			own = own || strings.HasPrefix(name, prefix)
		}
		if !own {
			env = append(env, v)
		}
	}
	return env
}
