SELECT id FROM kinds WHERE d > 'Yesterday '::date
