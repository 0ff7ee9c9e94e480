SELECT id FROM by_include WHERE k = 'x' AND id = 1
