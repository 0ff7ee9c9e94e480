-- The benchmark's refreshes: new orders, and old ones that go.
INSERT INTO orders VALUES ({o:11..16}, {1..8}, '{F|O}', {1..9}00, '1995-0{1..6}-05', '{1-URGENT|5-LOW}', '') ON CONFLICT DO NOTHING;
INSERT INTO lineitem VALUES ({o}, 1, {1..6}, {1..4}, {1..20}, {1..99}, 0.05, 0.1, '{R|N}', '{F|O}', '1995-0{1..6}-10', '1995-0{1..6}-12', '1995-0{1..6}-14', '{AIR|MAIL|SHIP}', 'NONE') ON CONFLICT DO NOTHING;

DELETE FROM lineitem WHERE l_orderkey = {o:1..16};
DELETE FROM orders WHERE o_orderkey = {o};

-- And what goes on beside them.
UPDATE lineitem SET l_receiptdate = l_commitdate + {-3..3} WHERE l_orderkey = {1..16};

UPDATE lineitem SET l_shipinstruct = 'NONE' WHERE l_orderkey = {1..16} AND l_linenumber = {1..2};

UPDATE orders SET o_comment = '{special|plain}' WHERE o_orderkey = {1..16};

UPDATE orders SET o_custkey = {1..8} WHERE o_orderkey = {1..16};

UPDATE customer SET c_acctbal = {-3..9} * 100, c_mktsegment = '{BUILDING|MACHINERY}' WHERE c_custkey = {1..8};

UPDATE customer SET c_name = 'c{1..9}' WHERE c_custkey = {1..8};

UPDATE supplier SET s_comment = '{fine|Customer Complaints}' WHERE s_suppkey = {1..4};

UPDATE supplier SET s_nationkey = {1..4} WHERE s_suppkey = {1..4};

UPDATE part SET p_brand = 'Brand#{0..2}', p_size = {1..6} WHERE p_partkey = {1..6};

UPDATE partsupp SET ps_supplycost = {1..9}, ps_availqty = {1..20} WHERE ps_partkey = {1..6};

UPDATE nation SET n_name = '{CHINA|JAPAN|FRANCE|GERMANY}' WHERE n_nationkey = {1..4};

UPDATE region SET r_name = '{ASIA|EUROPE}' WHERE r_regionkey = {1..2};

TRUNCATE partsupp; INSERT INTO partsupp SELECT p, s, p * s, p + s FROM generate_series(1, 6) p, generate_series(1, 4) s WHERE (p + s) % 2 = 0;
