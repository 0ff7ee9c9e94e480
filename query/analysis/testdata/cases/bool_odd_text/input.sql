SELECT title FROM blogs WHERE draft = 'yes'
