SELECT k.id FROM blogs JOIN quizzes USING (id) AS k WHERE k.id = 1
