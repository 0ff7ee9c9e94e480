SELECT title FROM blogs WHERE blogs.draft = $1::bool
