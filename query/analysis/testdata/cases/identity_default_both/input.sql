SELECT id FROM by_key WHERE k = 'x' AND id = 1
