SELECT k FROM by_deferred WHERE id = 1
