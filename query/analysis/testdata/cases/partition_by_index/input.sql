SELECT id FROM by_part_index WHERE k = 'x'
