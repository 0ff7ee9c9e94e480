SELECT age(created_at), age(created_at, created_at) FROM blogs
