SELECT x.slug FROM (SELECT * FROM blogs JOIN quizzes USING (id)) x WHERE x.slug = 's'
