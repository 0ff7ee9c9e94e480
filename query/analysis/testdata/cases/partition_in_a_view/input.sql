SELECT k FROM eastern WHERE id = 1
