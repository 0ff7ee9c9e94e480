SELECT title FROM blogs WHERE 'go' = ANY (tags)
