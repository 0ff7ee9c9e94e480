SELECT v FROM by_index WHERE id = 1
