SELECT year FROM parts WHERE id = 1 AND year = 2024
