SELECT slug, topic FROM blogs JOIN quizzes USING (id) WHERE blogs.id = 1
