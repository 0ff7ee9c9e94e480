SELECT title FROM blogs WHERE $1::bigint = id
