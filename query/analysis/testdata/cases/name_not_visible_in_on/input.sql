SELECT (SELECT count(*) FROM quizzes q, (users u JOIN attempts a ON EXISTS (SELECT 1 FROM kinds k WHERE k.t = title))) FROM blogs
