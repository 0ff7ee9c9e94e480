-- name: attempt_create
-- route: POST /attempts
-- param: user_id bigint, min 1
-- param: quiz_id bigint, min 1
-- param: score numeric, min 0, max 100
-- param: started_at timestamptz, optional
-- param: finished_at timestamptz, optional
-- result: one
-- doc: Record how a quiz went.
INSERT INTO attempts (user_id, quiz_id, score, started_at, finished_at)
VALUES (:user_id, :quiz_id, :score, coalesce(:started_at, now()), :finished_at)
RETURNING id, user_id, quiz_id, score, started_at, finished_at
