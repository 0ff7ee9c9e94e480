SELECT k FROM by_nothing WHERE id = 1
