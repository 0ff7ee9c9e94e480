SELECT author FROM blogs EXCEPT ALL SELECT handle FROM users WHERE active
