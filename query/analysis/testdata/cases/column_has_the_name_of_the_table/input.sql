SELECT title FROM (SELECT id, title FROM quizzes) title WHERE title.id = 1
