SELECT k FROM by_part_nothing WHERE id = 1
