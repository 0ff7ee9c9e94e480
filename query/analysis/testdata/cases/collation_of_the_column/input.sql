SELECT title FROM blogs WHERE status COLLATE folded = 'a'
