-- name: quiz_list
-- route: GET /quizzes
-- param: topic text, max_len 100, optional
-- result: many
-- doc: The quizzes, of one topic or of all.
-- example: /quizzes?topic=sql
SELECT id, title, topic, questions
FROM quizzes
WHERE :topic IS NULL OR topic = :topic
ORDER BY topic, id
