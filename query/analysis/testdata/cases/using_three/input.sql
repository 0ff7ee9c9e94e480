SELECT 1 FROM blogs b JOIN quizzes q USING (id) JOIN users u USING (id) WHERE b.id = 1
