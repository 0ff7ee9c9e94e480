SELECT k FROM other.blogs WHERE id = 1
