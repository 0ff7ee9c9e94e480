SELECT id FROM kinds WHERE d = current_date
