SELECT blog_count(), title FROM quizzes
