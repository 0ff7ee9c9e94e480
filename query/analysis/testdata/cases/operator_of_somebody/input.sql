SELECT title FROM blogs WHERE status OPERATOR(other.=) 'a'
