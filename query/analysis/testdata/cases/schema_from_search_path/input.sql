SELECT k FROM only_here WHERE id = 1
