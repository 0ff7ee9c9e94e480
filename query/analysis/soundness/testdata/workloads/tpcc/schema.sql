CREATE TABLE warehouse (w_id int PRIMARY KEY, w_name text, w_tax numeric(4, 4), w_ytd numeric(12, 2));
CREATE TABLE district (
    d_id int, d_w_id int, d_name text, d_tax numeric(4, 4), d_ytd numeric(12, 2), d_next_o_id int, PRIMARY KEY (d_w_id, d_id)
);
CREATE TABLE customer (
    c_id int, c_d_id int, c_w_id int, c_first text, c_last varchar(16), c_credit char(2), c_discount numeric(4, 4),
    c_balance numeric(12, 2), c_payment_cnt int, PRIMARY KEY (c_w_id, c_d_id, c_id)
);
CREATE TABLE orders (
    o_id int, o_d_id int, o_w_id int, o_c_id int, o_entry_d timestamp, o_carrier_id int, o_ol_cnt int,
    PRIMARY KEY (o_w_id, o_d_id, o_id)
);
CREATE TABLE new_order (no_o_id int, no_d_id int, no_w_id int, PRIMARY KEY (no_w_id, no_d_id, no_o_id));
CREATE TABLE order_line (
    ol_o_id int, ol_d_id int, ol_w_id int, ol_number int, ol_i_id int, ol_supply_w_id int, ol_delivery_d timestamp,
    ol_quantity int, ol_amount numeric(6, 2), PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number)
);
CREATE TABLE item (i_id int PRIMARY KEY, i_name text, i_price numeric(5, 2), i_data text);
CREATE TABLE stock (s_i_id int, s_w_id int, s_quantity int, s_ytd int, s_order_cnt int, PRIMARY KEY (s_w_id, s_i_id));
ALTER TABLE warehouse REPLICA IDENTITY FULL;
ALTER TABLE district REPLICA IDENTITY FULL;
ALTER TABLE customer REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;
ALTER TABLE order_line REPLICA IDENTITY FULL;
ALTER TABLE stock REPLICA IDENTITY FULL;
INSERT INTO warehouse SELECT n, 'w' || n, 0.1, 0 FROM generate_series(1, 2) n;
INSERT INTO district SELECT d, w, 'd' || d, 0.05, 0, 4 FROM generate_series(1, 2) w, generate_series(1, 2) d;
INSERT INTO customer SELECT c, d, w, 'f' || c, 'l' || c % 2, 'GC', 0.1, 0, 0
    FROM generate_series(1, 2) w, generate_series(1, 2) d, generate_series(1, 3) c;
INSERT INTO item SELECT n, 'i' || n, n, '' FROM generate_series(1, 5) n;
INSERT INTO stock SELECT i, w, 10 + i, 0, 0 FROM generate_series(1, 2) w, generate_series(1, 5) i;
INSERT INTO orders SELECT o, d, w, o, '2024-01-01', NULL, 2 FROM generate_series(1, 2) w, generate_series(1, 2) d, generate_series(1, 3) o;
INSERT INTO new_order SELECT o_id, o_d_id, o_w_id FROM orders;
INSERT INTO order_line SELECT o_id, o_d_id, o_w_id, n, (o_id + n) % 5 + 1, o_w_id, NULL, n, n * 2 FROM orders, generate_series(1, 2) n;
