SELECT twice(views) FROM blogs WHERE id = 1
