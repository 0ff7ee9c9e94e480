SELECT row_to_json(b) FROM blogs b
