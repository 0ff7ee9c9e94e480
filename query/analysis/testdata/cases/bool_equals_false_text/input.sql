SELECT title FROM blogs WHERE draft = 'false'
