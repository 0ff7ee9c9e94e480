SELECT title FROM blogs, unnest(tags) AS t(tag) WHERE id = 1
