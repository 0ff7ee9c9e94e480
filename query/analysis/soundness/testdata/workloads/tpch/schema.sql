CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name text);
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name text, n_regionkey int);
CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name text, s_nationkey int, s_acctbal numeric(8, 2), s_comment text);
CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name text, c_nationkey int, c_phone text, c_acctbal numeric(8, 2), c_mktsegment text);
CREATE TABLE part (p_partkey int PRIMARY KEY, p_name text, p_brand text, p_type text, p_size int, p_container text);
CREATE TABLE partsupp (ps_partkey int, ps_suppkey int, ps_availqty int, ps_supplycost numeric(8, 2), PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE orders (
    o_orderkey int PRIMARY KEY, o_custkey int, o_orderstatus text, o_totalprice numeric(8, 2), o_orderdate date, o_orderpriority text,
    o_comment text
);
CREATE TABLE lineitem (
    l_orderkey int, l_linenumber int, l_partkey int, l_suppkey int, l_quantity int, l_extendedprice numeric(8, 2), l_discount numeric(4, 2),
    l_tax numeric(4, 2), l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date, l_shipmode text,
    l_shipinstruct text, PRIMARY KEY (l_orderkey, l_linenumber)
);
ALTER TABLE nation REPLICA IDENTITY FULL;
ALTER TABLE supplier REPLICA IDENTITY FULL;
ALTER TABLE customer REPLICA IDENTITY FULL;
ALTER TABLE part REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;
ALTER TABLE lineitem REPLICA IDENTITY FULL;
INSERT INTO region VALUES (1, 'ASIA'), (2, 'EUROPE');
INSERT INTO nation VALUES (1, 'CHINA', 1), (2, 'JAPAN', 1), (3, 'FRANCE', 2), (4, 'GERMANY', 2);
INSERT INTO supplier SELECT n, 's' || n, n % 4 + 1, n * 100, CASE n WHEN 3 THEN 'Customer Complaints' ELSE '' END FROM generate_series(1, 4) n;
INSERT INTO customer SELECT n, 'c' || n, n % 4 + 1, 10 + n % 4 || '-1', n * 100 - 200, (ARRAY['BUILDING', 'MACHINERY'])[n % 2 + 1] FROM generate_series(1, 8) n;
INSERT INTO part SELECT n, (ARRAY['green', 'forest'])[n % 2 + 1] || ' nut', 'Brand#' || n % 3, (ARRAY['PROMO BRASS', 'SMALL STEEL'])[n % 2 + 1], n, (ARRAY['MED BOX', 'SM CASE'])[n % 2 + 1] FROM generate_series(1, 6) n;
INSERT INTO partsupp SELECT p, s, p * s, p + s FROM generate_series(1, 6) p, generate_series(1, 4) s WHERE (p + s) % 2 = 0;
INSERT INTO orders SELECT n, n % 7 + 1, (ARRAY['F', 'O'])[n % 2 + 1], n * 50, date '1994-12-01' + n * 20, (ARRAY['1-URGENT', '5-LOW'])[n % 2 + 1], '' FROM generate_series(1, 10) n;
INSERT INTO lineitem SELECT o, l, (o + l) % 6 + 1, (o + l) % 4 + 1, o + l, o * 10, 0.05, 0.1, (ARRAY['R', 'N'])[l], (ARRAY['F', 'O'])[o % 2 + 1],
    date '1994-12-10' + o * 20, date '1994-12-15' + o * 20, date '1994-12-13' + o * 20 + l * 2, (ARRAY['AIR', 'MAIL', 'SHIP'])[o % 3 + 1], 'DELIVER IN PERSON'
    FROM generate_series(1, 10) o, generate_series(1, 2) l;
