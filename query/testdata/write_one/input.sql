-- name: create
-- route: POST /things
-- param: title text, min_len 1, max_len 10
-- param: kind text = 'a', one of a|b c|d
-- param: note text, optional
INSERT INTO things (title, kind, note) VALUES (:title, :kind, :note) RETURNING id
