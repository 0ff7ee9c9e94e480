WITH published AS (SELECT title FROM quizzes) SELECT title FROM published
