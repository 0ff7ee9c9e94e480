-- New order: what it reads before it writes.
-- params: {1..2}; {1..2}; {1..3}
SELECT c.c_discount, c.c_last, c.c_credit, w.w_tax
FROM customer c JOIN warehouse w ON w.w_id = c.c_w_id
WHERE w.w_id = $1::int AND c.c_d_id = $2::int AND c.c_id = $3::int;

-- params: {1..2}; {1..2}
SELECT d_next_o_id, d_tax FROM district WHERE d_w_id = $1::int AND d_id = $2::int;

-- params: {1..5}
SELECT i_price, i_name, i_data FROM item WHERE i_id = $1::int;

-- params: {1..2}; {1..5}
SELECT s_quantity FROM stock WHERE s_w_id = $1::int AND s_i_id = $2::int;

-- Payment: the customers of a name, the one in the middle.
-- params: {1..2}; {1..2}; {l0|l1}
WITH named AS (
    SELECT c_id, c_first, c_balance, row_number() OVER (ORDER BY c_first, c_id) AS n, count(*) OVER () AS among
    FROM customer
    WHERE c_w_id = $1::int AND c_d_id = $2::int AND c_last = $3::text
)
SELECT c_id, c_first, c_balance FROM named WHERE n = (among + 1) / 2;

-- Order status: the customer's last order, with its lines.
-- params: {1..2}; {1..2}; {1..3}
SELECT c.c_first, c.c_balance, o.o_id, o.o_entry_d, o.o_carrier_id
FROM customer c
LEFT JOIN LATERAL (
    SELECT o_id, o_entry_d, o_carrier_id FROM orders
    WHERE o_w_id = c.c_w_id AND o_d_id = c.c_d_id AND o_c_id = c.c_id
    ORDER BY o_id DESC LIMIT 1
) o ON true
WHERE c.c_w_id = $1::int AND c.c_d_id = $2::int AND c.c_id = $3::int;

-- params: {1..2}; {1..2}; {1..6}
SELECT ol_i_id, ol_supply_w_id, ol_quantity, ol_amount, ol_delivery_d
FROM order_line
WHERE ol_w_id = $1::int AND ol_d_id = $2::int AND ol_o_id = $3::int;

-- Delivery: the oldest order that waits.
-- params: {1..2}; {1..2}
SELECT min(no_o_id) FROM new_order WHERE no_w_id = $1::int AND no_d_id = $2::int;

-- Stock level: items of the last orders that run out.
-- params: {1..2}; {1..2}; {10..14}
SELECT count(DISTINCT s.s_i_id)
FROM order_line ol
JOIN stock s ON s.s_i_id = ol.ol_i_id AND s.s_w_id = ol.ol_w_id
WHERE ol.ol_w_id = $1::int AND ol.ol_d_id = $2::int AND s.s_quantity < $3::int
  AND ol.ol_o_id >= (SELECT d_next_o_id - 2 FROM district WHERE d_w_id = $1::int AND d_id = $2::int);
