SELECT author, count(*) FROM blogs WHERE status = 'a' GROUP BY author, draft
