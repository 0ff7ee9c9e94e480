SELECT id FROM kinds WHERE m = $1::text::mood
