-- name: user_dashboard
-- route: GET /users/{user_id}/dashboard
-- param: user_id bigint, min 1
-- result: one
-- doc: All that a user's front page shows: attempts, averages by topic, the streak, and what to read next.
-- example: /users/1/dashboard
WITH mine AS (
    SELECT a.id, a.score, a.started_at, a.finished_at, q.title, q.topic
    FROM attempts a
    JOIN quizzes q ON q.id = a.quiz_id
    WHERE a.user_id = :user_id
),
days AS (
    SELECT DISTINCT (started_at AT TIME ZONE 'UTC')::date AS day FROM mine
),
-- Consecutive days keep the same distance to their rank, so the days of one streak share one value of it.
runs AS (
    SELECT day, day - (row_number() OVER (ORDER BY day))::int AS run FROM days
)
SELECT u.id, u.handle, u.name,
    (SELECT count(*) FROM mine) AS attempts,
    (SELECT count(*) FROM mine WHERE finished_at IS NULL) AS unfinished,
    (SELECT round(avg(score), 2) FROM mine WHERE finished_at IS NOT NULL) AS average_score,
    (SELECT max(score) FROM mine WHERE finished_at IS NOT NULL) AS best_score,
    -- The streak that ends on the day of the last attempt, in days of UTC.
    (SELECT count(*) FROM runs WHERE run = (SELECT run FROM runs ORDER BY day DESC LIMIT 1)) AS streak_days,
    (SELECT max(day) FROM days) AS last_day,
    (SELECT coalesce(json_agg(t ORDER BY t.topic), '[]') FROM (
        SELECT topic, count(*) AS attempts, round(avg(score), 2) AS average_score,
            round(avg(extract(epoch FROM finished_at - started_at)))::bigint AS average_seconds
        FROM mine
        WHERE finished_at IS NOT NULL
        GROUP BY topic
    ) t) AS topics,
    (SELECT coalesce(json_agg(r), '[]') FROM (
        SELECT id, title, topic, score, started_at, finished_at
        FROM mine
        ORDER BY started_at DESC, id DESC
        LIMIT 10
    ) r) AS recent_attempts,
    (SELECT coalesce(json_agg(b), '[]') FROM (
        SELECT id, slug, title, author, created_at
        FROM blogs
        WHERE status = 'published'
        ORDER BY created_at DESC, id DESC
        LIMIT 5
    ) b) AS latest_blogs
FROM users u
WHERE u.id = :user_id
