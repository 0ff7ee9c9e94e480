SELECT id FROM kinds WHERE vc = $1::text AND v = $2::varchar
