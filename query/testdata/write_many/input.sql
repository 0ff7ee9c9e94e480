-- name: touch
-- route: PUT /things
-- param: ids text[], max 3
-- result: many
UPDATE things SET at = now() WHERE id = ANY(:ids) RETURNING id;
