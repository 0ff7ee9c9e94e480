package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// soakWriter changes rows by SQL, a transaction after the other.
type soakWriter struct {
	*soak
	conn   *pgx.Conn
	random *rand.Rand
	wrote  map[int64]int64 // versions that the current transaction makes
}

// errRollBack undoes a transaction on purpose.
var errRollBack = errors.New("rolled back on purpose")

func (w *soakWriter) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.transaction(); err != nil {
			return err
		}
		pause := time.Duration(w.random.Int64N(int64(20 * time.Millisecond)))
		if w.random.IntN(100) == 0 {
			pause = 400 * time.Millisecond // the cache gets a moment to fill
		}
		wait(ctx, pause)
	}
	return nil
}

// transaction does one to three things in one transaction, and notes what it made when it is acknowledged.
func (w *soakWriter) transaction() error {
	// Not the run's context: a commit that is cut off half-way may have happened or not.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.wrote = map[int64]int64{}
	err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		for range 1 + w.random.IntN(3) {
			if err := w.step(ctx, tx); err != nil {
				return err
			}
		}
		if w.random.IntN(20) == 0 {
			return errRollBack
		}
		return nil
	})
	var pg *pgconn.PgError
	switch {
	case err == nil:
		w.writes.Add(1)
		for blog, number := range w.wrote {
			w.history.commit(blog, number)
		}
	case errors.Is(err, errRollBack),
		errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "23505"): // a deadlock, or a slug that is taken
		w.rolledBack.Add(1)
	default:
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (w *soakWriter) step(ctx context.Context, tx pgx.Tx) error {
	blog := 1 + w.random.Int64N(soakBlogs)
	user := 1 + w.random.IntN(soakUsers)
	switch w.random.IntN(14) {
	case 0, 1, 2:
		return w.update(ctx, tx, "title = $2", "id = $1", blog, fmt.Sprintf("Title %d", w.random.Int()))
	case 3:
		return w.update(ctx, tx, "status = $2", "id = $1", blog, pick(w.random, soakStates))
	case 4: // the key by which it is read moves
		slug := fmt.Sprintf("soak-%d", w.random.IntN(soakSlugs))
		if w.random.IntN(2) == 0 { // and makes room for another
			slug = fmt.Sprintf("soak-away-%d", w.random.Int())
		}
		return w.update(ctx, tx, "slug = $2", "id = $1", blog, slug)
	case 5:
		return w.update(ctx, tx, "author = $2", "id = $1", blog, pick(w.random, soakAuthors))
	case 6:
		return w.update(ctx, tx, "tags = ARRAY[$2, 'more']", "id = $1", blog, pick(w.random, soakTags))
	case 7: // many rows at once
		return w.update(ctx, tx, "updated_at = now(), content = $2", "id BETWEEN $1 AND $1 + 10", blog, "Content")
	case 8:
		return w.savepoint(ctx, tx, blog)
	case 9:
		return w.exec(ctx, tx, `INSERT INTO blogs (title, slug, content, status, author, tags)
			VALUES ('New', 'soak-new-' || md5(random()::text), 'Content', $1, $2, '{soak}')`,
			pick(w.random, soakStates), pick(w.random, soakAuthors))
	case 10:
		return w.remove(ctx, tx, blog)
	case 11:
		return w.attempt(ctx, tx, user)
	case 12:
		return w.exec(ctx, tx, `UPDATE users SET name = $2 WHERE id = $1`, user, fmt.Sprintf("Name %d", w.random.IntN(1000)))
	default:
		return w.exec(ctx, tx, `UPDATE quizzes SET topic = $2, questions = questions + 1 WHERE id = $1`,
			1+w.random.IntN(6), pick(w.random, []string{"sql", "soak"}))
	}
}

// update changes blogs and, with them, their versions.
func (w *soakWriter) update(ctx context.Context, tx pgx.Tx, set, where string, blog int64, value any) error {
	rows, err := tx.Query(ctx, "UPDATE blogs SET views = views + 1, "+set+" WHERE "+where+" RETURNING id, views", blog, value)
	if err != nil {
		return err
	}
	var id, views int64
	_, err = pgx.ForEachRow(rows, []any{&id, &views}, func() error {
		w.wrote[id] = views
		return nil
	})
	return err
}

// remove deletes a blog: mostly one that the soak has made, now and then one that is read by its id.
func (w *soakWriter) remove(ctx context.Context, tx pgx.Tx, blog int64) error {
	if w.random.IntN(40) != 0 || blog <= soakBlogs/2 {
		return w.exec(ctx, tx, `DELETE FROM blogs WHERE id = (SELECT max(id) FROM blogs WHERE id > 2000)`)
	}
	if err := w.exec(ctx, tx, `DELETE FROM blogs WHERE id = $1`, blog); err != nil {
		return err
	}
	w.wrote[blog] = deleted
	return nil
}

// savepoint writes, undoes that, and writes something else.
func (w *soakWriter) savepoint(ctx context.Context, tx pgx.Tx, blog int64) error {
	before := w.wrote
	w.wrote = map[int64]int64{}
	err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
		if err := w.update(ctx, inner, "title = $2", "id = $1", blog, neverShown); err != nil {
			return err
		}
		return errRollBack
	})
	w.wrote = before
	if !errors.Is(err, errRollBack) {
		return err
	}
	return w.update(ctx, tx, "title = $2", "id = $1", blog, "After a savepoint")
}

// attempt adds, changes or removes attempts of a user.
func (w *soakWriter) attempt(ctx context.Context, tx pgx.Tx, user int) error {
	const newest = `(SELECT id FROM attempts WHERE user_id = $1 ORDER BY id DESC LIMIT 1)`
	switch w.random.IntN(4) {
	case 0, 1:
		return w.exec(ctx, tx, `INSERT INTO attempts (user_id, quiz_id, score) VALUES ($1, $2, $3)`, user, 1+w.random.IntN(6), w.random.IntN(101))
	case 2:
		return w.exec(ctx, tx, `UPDATE attempts SET score = $2 WHERE id = `+newest, user, w.random.IntN(101))
	default: // to another user: both dashboards change
		return w.exec(ctx, tx, `UPDATE attempts SET user_id = $2 WHERE id = `+newest, user, 1+w.random.IntN(soakUsers))
	}
}

func (w *soakWriter) exec(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	_, err := tx.Exec(ctx, sql, args...)
	return err
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }
