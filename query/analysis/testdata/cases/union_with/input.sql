WITH x AS (SELECT id, topic FROM quizzes) SELECT id FROM x WHERE topic = 'a' UNION SELECT id FROM users WHERE id = 1
