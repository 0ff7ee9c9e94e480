SELECT handle FROM everyone WHERE id = 1
