SELECT v FROM by_index WHERE k = 'x'
