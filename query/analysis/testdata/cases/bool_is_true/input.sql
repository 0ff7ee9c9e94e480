SELECT title FROM blogs WHERE draft IS TRUE
