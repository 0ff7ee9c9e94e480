SELECT to_char(created_at, 'YYYY'), concat(title, views) FROM blogs
