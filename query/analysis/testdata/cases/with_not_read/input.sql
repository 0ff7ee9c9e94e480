WITH x AS (SELECT id FROM users WHERE id = 1) SELECT title FROM quizzes
