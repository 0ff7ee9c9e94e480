SELECT q.*, b.title FROM quizzes q JOIN blogs b ON b.id = q.id WHERE q.id = 1
