SELECT x.ctid FROM (SELECT id AS ctid FROM users) x
