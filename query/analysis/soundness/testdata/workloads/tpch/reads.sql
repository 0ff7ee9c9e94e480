-- The 22 questions of the benchmark, in our words. Where one asks for the first few, the order leaves nothing open.

-- 1: what was shipped
SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), avg(l_discount), count(*)
FROM lineitem WHERE l_shipdate <= date '1995-06-01' GROUP BY l_returnflag, l_linestatus;

-- 2: the cheapest supplier of a part in a region
-- params: {1..6}; {ASIA|EUROPE}
SELECT s.s_acctbal, s.s_name, n.n_name, p.p_partkey
FROM part p
JOIN partsupp ps ON ps.ps_partkey = p.p_partkey
JOIN supplier s ON s.s_suppkey = ps.ps_suppkey
JOIN nation n ON n.n_nationkey = s.s_nationkey
JOIN region r ON r.r_regionkey = n.n_regionkey
WHERE p.p_size = $1::int AND r.r_name = $2::text
  AND ps.ps_supplycost = (
    SELECT min(ps2.ps_supplycost)
    FROM partsupp ps2, supplier s2, nation n2, region r2
    WHERE ps2.ps_partkey = p.p_partkey AND s2.s_suppkey = ps2.ps_suppkey AND n2.n_nationkey = s2.s_nationkey
      AND r2.r_regionkey = n2.n_regionkey AND r2.r_name = $2::text);

-- 3: orders not shipped yet
-- params: {BUILDING|MACHINERY}
SELECT l.l_orderkey, sum(l.l_extendedprice * (1 - l.l_discount)) AS revenue, o.o_orderdate
FROM customer c, orders o, lineitem l
WHERE c.c_mktsegment = $1::text AND o.o_custkey = c.c_custkey AND l.l_orderkey = o.o_orderkey AND o.o_orderdate < date '1995-03-01'
GROUP BY l.l_orderkey, o.o_orderdate ORDER BY revenue DESC, l.l_orderkey LIMIT 3;

-- 4: late orders by priority
SELECT o.o_orderpriority, count(*) FROM orders o
WHERE EXISTS (SELECT * FROM lineitem l WHERE l.l_orderkey = o.o_orderkey AND l.l_commitdate < l.l_receiptdate) GROUP BY 1;

-- 5: revenue within a region
-- params: {ASIA|EUROPE}
SELECT n.n_name, sum(l.l_extendedprice * (1 - l.l_discount))
FROM customer c, orders o, lineitem l, supplier s, nation n, region r
WHERE o.o_custkey = c.c_custkey AND l.l_orderkey = o.o_orderkey AND s.s_suppkey = l.l_suppkey AND c.c_nationkey = s.s_nationkey
  AND n.n_nationkey = s.s_nationkey AND r.r_regionkey = n.n_regionkey AND r.r_name = $1::text GROUP BY n.n_name;

-- 6: what a discount costs
SELECT sum(l_extendedprice * l_discount) FROM lineitem
WHERE l_shipdate >= date '1995-01-01' AND l_discount BETWEEN 0.04 AND 0.06 AND l_quantity < 9;

-- 7: trade between two nations
-- params: {CHINA|FRANCE}; {JAPAN|GERMANY}
SELECT supp, cust, year, sum(volume)
FROM (
    SELECT n1.n_name AS supp, n2.n_name AS cust, extract(year FROM l.l_shipdate) AS year, l.l_extendedprice AS volume
    FROM supplier s, lineitem l, orders o, customer c, nation n1, nation n2
    WHERE s.s_suppkey = l.l_suppkey AND o.o_orderkey = l.l_orderkey AND c.c_custkey = o.o_custkey
      AND n1.n_nationkey = s.s_nationkey AND n2.n_nationkey = c.c_nationkey
      AND (n1.n_name = $1::text AND n2.n_name = $2::text OR n1.n_name = $2::text AND n2.n_name = $1::text)
) shipping GROUP BY supp, cust, year;

-- 8: the share of a nation in a market
-- params: {CHINA|FRANCE}; {ASIA|EUROPE}; {PROMO BRASS|SMALL STEEL}
SELECT year, sum(CASE WHEN nation = $1::text THEN volume ELSE 0 END), sum(volume)
FROM (
    SELECT extract(year FROM o.o_orderdate) AS year, l.l_extendedprice AS volume, n2.n_name AS nation
    FROM part p
    JOIN lineitem l ON l.l_partkey = p.p_partkey
    JOIN supplier s ON s.s_suppkey = l.l_suppkey
    JOIN orders o ON o.o_orderkey = l.l_orderkey
    JOIN customer c ON c.c_custkey = o.o_custkey
    JOIN nation n1 ON n1.n_nationkey = c.c_nationkey
    JOIN region r ON r.r_regionkey = n1.n_regionkey AND r.r_name = $2::text
    JOIN nation n2 ON n2.n_nationkey = s.s_nationkey
    WHERE p.p_type = $3::text
) sales GROUP BY year;

-- 9: profit by nation and year
SELECT n.n_name, extract(year FROM o.o_orderdate), sum(l.l_extendedprice - ps.ps_supplycost * l.l_quantity)
FROM part p, supplier s, lineitem l, partsupp ps, orders o, nation n
WHERE s.s_suppkey = l.l_suppkey AND ps.ps_suppkey = l.l_suppkey AND ps.ps_partkey = l.l_partkey AND p.p_partkey = l.l_partkey
  AND o.o_orderkey = l.l_orderkey AND n.n_nationkey = s.s_nationkey AND p.p_name LIKE '%green%' GROUP BY 1, 2;

-- 10: customers who sent things back
-- params: {R|N}
SELECT c.c_custkey, c.c_name, c.c_acctbal, n.n_name, sum(l.l_extendedprice * (1 - l.l_discount)) AS revenue
FROM customer c
JOIN orders o ON o.o_custkey = c.c_custkey
JOIN lineitem l ON l.l_orderkey = o.o_orderkey AND l.l_returnflag = $1::text
JOIN nation n ON n.n_nationkey = c.c_nationkey
GROUP BY c.c_custkey, n.n_name ORDER BY revenue DESC, c.c_custkey LIMIT 3;

-- 11: stock that matters
-- params: {CHINA|JAPAN|GERMANY}
SELECT ps.ps_partkey, sum(ps.ps_supplycost * ps.ps_availqty)
FROM partsupp ps JOIN supplier s ON s.s_suppkey = ps.ps_suppkey JOIN nation n ON n.n_nationkey = s.s_nationkey
WHERE n.n_name = $1::text
GROUP BY ps.ps_partkey
HAVING sum(ps.ps_supplycost * ps.ps_availqty) > (
    SELECT sum(ps.ps_supplycost * ps.ps_availqty) * 0.2
    FROM partsupp ps, supplier s, nation n
    WHERE s.s_suppkey = ps.ps_suppkey AND n.n_nationkey = s.s_nationkey AND n.n_name = $1::text);

-- 12: how goods travel, and urgency
-- params: {AIR|MAIL}; {MAIL|SHIP}
SELECT l.l_shipmode, sum(CASE WHEN o.o_orderpriority = '1-URGENT' THEN 1 ELSE 0 END), count(*)
FROM orders o JOIN lineitem l ON l.l_orderkey = o.o_orderkey
WHERE l.l_shipmode IN ($1::text, $2::text) AND l.l_shipdate < l.l_commitdate GROUP BY l.l_shipmode;

-- 13: how many orders customers have
SELECT n, count(*)
FROM (
    SELECT c.c_custkey, count(o.o_orderkey)
    FROM customer c LEFT JOIN orders o ON o.o_custkey = c.c_custkey AND o.o_comment NOT LIKE '%special%'
    GROUP BY c.c_custkey
) c_orders(key, n) GROUP BY n;

-- 14: the share of promotions
SELECT 100 * sum(CASE WHEN p.p_type LIKE 'PROMO%' THEN l.l_extendedprice ELSE 0 END) / nullif(sum(l.l_extendedprice), 0)
FROM lineitem l, part p WHERE p.p_partkey = l.l_partkey AND l.l_shipdate >= date '1995-01-01';

-- 15: the supplier who sold most
WITH revenue(supplier, total) AS (
    SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount)) FROM lineitem WHERE l_linestatus = 'O' GROUP BY l_suppkey
)
SELECT s.s_suppkey, s.s_name, r.total FROM supplier s, revenue r
WHERE r.supplier = s.s_suppkey AND r.total = (SELECT max(total) FROM revenue);

-- 16: who supplies what, without complaints
-- params: {Brand#0|Brand#1}
SELECT p.p_brand, p.p_type, p.p_size, count(DISTINCT ps.ps_suppkey)
FROM partsupp ps, part p
WHERE p.p_partkey = ps.ps_partkey AND p.p_brand <> $1::text AND p.p_size IN (1, 2, 3, 5)
  AND ps.ps_suppkey NOT IN (SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%Complaints%')
GROUP BY p.p_brand, p.p_type, p.p_size;

-- 17: small quantities of one kind of part
-- params: {Brand#0|Brand#1|Brand#2}; {MED BOX|SM CASE}
SELECT sum(l.l_extendedprice) / 7 FROM lineitem l, part p
WHERE p.p_partkey = l.l_partkey AND p.p_brand = $1::text AND p.p_container = $2::text
  AND l.l_quantity < (SELECT 1.1 * avg(l2.l_quantity) FROM lineitem l2 WHERE l2.l_partkey = p.p_partkey);

-- 18: large orders
SELECT c.c_name, o.o_orderkey, o.o_totalprice, sum(l.l_quantity)
FROM customer c, orders o, lineitem l
WHERE o.o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 12)
  AND c.c_custkey = o.o_custkey AND l.l_orderkey = o.o_orderkey
GROUP BY c.c_name, o.o_orderkey ORDER BY o.o_totalprice DESC, o.o_orderkey LIMIT 4;

-- 19: three kinds of small parts
-- params: {Brand#0|Brand#1}; {Brand#1|Brand#2}
SELECT sum(l.l_extendedprice) FROM lineitem l, part p
WHERE p.p_partkey = l.l_partkey AND p.p_brand = $1::text AND p.p_container IN ('SM CASE', 'SM BOX') AND l.l_quantity BETWEEN 1 AND 9
   OR p.p_partkey = l.l_partkey AND p.p_brand = $2::text AND l.l_shipmode IN ('AIR', 'MAIL') AND l.l_shipinstruct = 'DELIVER IN PERSON';

-- 20: suppliers with too much of a part
-- params: {CHINA|JAPAN|GERMANY}
SELECT s.s_name FROM supplier s, nation n
WHERE s.s_suppkey IN (
    SELECT ps.ps_suppkey FROM partsupp ps
    WHERE ps.ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE 'forest%')
      AND ps.ps_availqty > (SELECT 0.1 * sum(l_quantity) FROM lineitem WHERE l_partkey = ps.ps_partkey AND l_suppkey = ps.ps_suppkey))
  AND n.n_nationkey = s.s_nationkey AND n.n_name = $1::text;

-- 21: suppliers who kept orders waiting
-- params: {CHINA|JAPAN|GERMANY}
SELECT s.s_name, count(*) FROM supplier s, lineitem l1, orders o, nation n
WHERE s.s_suppkey = l1.l_suppkey AND o.o_orderkey = l1.l_orderkey AND o.o_orderstatus = 'F' AND l1.l_receiptdate > l1.l_commitdate
  AND EXISTS (SELECT * FROM lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey)
  AND NOT EXISTS (
    SELECT * FROM lineitem l3 WHERE l3.l_orderkey = l1.l_orderkey AND l3.l_suppkey <> l1.l_suppkey AND l3.l_receiptdate > l3.l_commitdate)
  AND n.n_nationkey = s.s_nationkey AND n.n_name = $1::text
GROUP BY s.s_name ORDER BY 2 DESC, 1 LIMIT 3;

-- 22: customers with money and without orders
SELECT code, count(*), sum(balance)
FROM (
    SELECT substring(c.c_phone FROM 1 FOR 2) AS code, c.c_acctbal AS balance FROM customer c
    WHERE substring(c.c_phone FROM 1 FOR 2) IN ('10', '11', '13')
      AND c.c_acctbal > (SELECT avg(c_acctbal) FROM customer WHERE c_acctbal > 0)
      AND NOT EXISTS (SELECT * FROM orders o WHERE o.o_custkey = c.c_custkey)
) rich GROUP BY code;
