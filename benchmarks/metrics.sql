-- The numbers of a snapshot by one script written by hand, as whoever needed just these would write it.
-- {store}, {trades}, {orders}: the hot store's file, and lists of archive files; {now}, {capital}.
ATTACH {store} AS hot (READ_ONLY);
CREATE TEMP TABLE trades AS
SELECT mode, symbol, side, quantity, entry_price, entry_time, exit_time, updated_at, stop_loss, fees, realized_pnl,
    status, strategy
FROM hot.trades
UNION ALL
SELECT mode, symbol, side, quantity, entry_price, entry_time, exit_time, updated_at, stop_loss, fees, realized_pnl,
    status, strategy
FROM read_parquet({trades}) AS archived ANTI JOIN hot.trades AS current USING (trade_id);
CREATE TEMP TABLE orders AS
SELECT mode, broker, order_type, status, submitted_at, acknowledged_at, filled_at FROM hot.orders
UNION ALL
SELECT mode, broker, order_type, status, submitted_at, acknowledged_at, filled_at
FROM read_parquet({orders}) AS archived ANTI JOIN hot.orders AS current USING (order_id);
CREATE TEMP TABLE result (name VARCHAR, labels VARCHAR[], value DOUBLE);

INSERT INTO result
SELECT CASE WHEN status IN ('filled', 'cancelled', 'expired', 'rejected', 'replaced') THEN 'orders_total'
    ELSE 'orders_working' END, [mode, coalesce(broker, 'unknown'), status], count(*)
FROM orders GROUP BY mode, broker, status;

CREATE TEMP TABLE latencies AS
SELECT 'ack' AS event, mode, broker, order_type, acknowledged_at AS moment,
    epoch_us(acknowledged_at) - epoch_us(submitted_at) AS latency
FROM orders WHERE acknowledged_at IS NOT NULL AND submitted_at IS NOT NULL
UNION ALL
SELECT 'fill', mode, broker, order_type, filled_at, epoch_us(filled_at) - epoch_us(submitted_at)
FROM orders WHERE filled_at IS NOT NULL AND submitted_at IS NOT NULL;
INSERT INTO result
SELECT 'order_latency_negative_total', [mode, event], count(*) FILTER (latency < 0) FROM latencies GROUP BY mode, event;
CREATE TEMP TABLE bands AS
SELECT event, mode, broker, order_type, sum(latency) AS total, count(*) AS n,
    histogram(latency, [5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000,
        60000000, 300000000, 3600000000]) AS counts
FROM latencies WHERE latency >= 0 GROUP BY event, mode, broker, order_type;
INSERT INTO result
SELECT 'order_' || event || '_latency_seconds_sum', [mode, broker, order_type], total / 1e6 FROM bands
UNION ALL
SELECT 'order_' || event || '_latency_seconds_bucket', [mode, broker, order_type, (bound / 1e6)::DOUBLE::VARCHAR],
    list_sum([e.value FOR e IN map_entries(counts) IF e.key <= bound])
FROM (SELECT *, unnest(map_keys(counts)) AS bound FROM bands) WHERE bound <= 3600000000;

INSERT INTO result
WITH measured AS (
    SELECT event, mode, order_type, w.name AS span, count(*) AS n,
        quantile_cont(latency, [0.5, 0.9, 0.95, 0.99]) AS found
    FROM latencies
    JOIN (VALUES ('1d', 1), ('7d', 7), ('30d', 30), ('all', 1000000)) AS w(name, days)
        ON moment > {now} - to_days(w.days) AND moment <= {now}
    WHERE latency >= 0 GROUP BY event, mode, order_type, w.name
)
SELECT 'order_' || event || '_latency_window_samples', [mode, order_type, span], n FROM measured
UNION ALL
SELECT 'order_' || event || '_latency_window_seconds',
    [mode, order_type, span, ([0.5, 0.9, 0.95, 0.99])[i]::DOUBLE::VARCHAR], found[i] / 1e6
FROM measured, range(1, 5) AS q(i)
WHERE n >= ([1, 1, 20, 100])[i];

CREATE TEMP TABLE outcomes AS
SELECT mode, count(*) FILTER (realized_pnl > 0) AS won, count(*) FILTER (realized_pnl < 0) AS lost,
    count(*) FILTER (realized_pnl = 0) AS even, sum(realized_pnl) FILTER (realized_pnl > 0) AS profit,
    -sum(realized_pnl) FILTER (realized_pnl < 0) AS loss
FROM trades WHERE status = 'closed' GROUP BY mode;
INSERT INTO result
SELECT 'trades_closed_total', [mode, 'win'], won FROM outcomes
UNION ALL SELECT 'trades_closed_total', [mode, 'loss'], lost FROM outcomes
UNION ALL SELECT 'trades_closed_total', [mode, 'flat'], even FROM outcomes
UNION ALL SELECT 'profit_usd_total', [mode], profit::DOUBLE FROM outcomes
UNION ALL SELECT 'loss_usd_total', [mode], loss::DOUBLE FROM outcomes
UNION ALL SELECT 'win_ratio', [mode], won / (won + lost + even) FROM outcomes
UNION ALL SELECT 'fees_usd_total', [mode], sum(fees)::DOUBLE FROM trades WHERE status <> 'open' GROUP BY mode
UNION ALL SELECT 'trades_cancelled_total', [mode], count(*) FILTER (status = 'cancelled') FROM trades GROUP BY mode;

CREATE TEMP TABLE held AS
SELECT mode, exit_time, epoch_us(exit_time) - epoch_us(entry_time) AS held
FROM trades WHERE status = 'closed' AND exit_time >= entry_time;
CREATE TEMP TABLE held_bands AS
SELECT mode, sum(held) AS total, histogram(held, [60000000, 300000000, 900000000, 3600000000, 14400000000, 86400000000,
    172800000000, 604800000000, 2592000000000]) AS counts
FROM held GROUP BY mode;
INSERT INTO result
SELECT 'holding_seconds_sum', [mode], total / 1e6 FROM held_bands
UNION ALL
SELECT 'holding_seconds_bucket', [mode, (bound / 1e6)::DOUBLE::VARCHAR],
    list_sum([e.value FOR e IN map_entries(counts) IF e.key <= bound])
FROM (SELECT *, unnest(map_keys(counts)) AS bound FROM held_bands) WHERE bound <= 2592000000000;
INSERT INTO result
WITH measured AS (
    SELECT mode, w.name AS span, count(*) AS n, quantile_cont(held, [0.5, 0.9, 0.95, 0.99]) AS found
    FROM held
    JOIN (VALUES ('1d', 1), ('7d', 7), ('30d', 30), ('all', 1000000)) AS w(name, days)
        ON exit_time > {now} - to_days(w.days) AND exit_time <= {now}
    GROUP BY mode, w.name
)
SELECT 'holding_window_samples', [mode, span], n FROM measured
UNION ALL
SELECT 'holding_window_seconds', [mode, span, ([0.5, 0.9, 0.95, 0.99])[i]::DOUBLE::VARCHAR], found[i] / 1e6
FROM measured, range(1, 5) AS q(i)
WHERE n >= ([1, 1, 20, 100])[i];

CREATE TEMP TABLE stretched AS
WITH steps AS (
    SELECT mode, instant, sum(paid) AS paid, sum(earned) AS earned
    FROM (
        SELECT mode, coalesce(exit_time, updated_at) AS instant, 0::DECIMAL(38, 8) AS paid, realized_pnl AS earned
        FROM trades WHERE status = 'closed'
        UNION ALL
        SELECT mode, "at", CASE kind WHEN 'withdrawal' THEN -abs(amount) WHEN 'deposit' THEN amount ELSE 0 END,
            CASE kind WHEN 'withdrawal' THEN 0 WHEN 'deposit' THEN 0 WHEN 'fee' THEN -abs(amount) ELSE amount END
        FROM hot.cash_flows
    )
    GROUP BY mode, instant
), running AS (
    SELECT mode, instant, sum(paid) OVER so_far AS paid, sum(earned) OVER so_far AS earned
    FROM steps WINDOW so_far AS (PARTITION BY mode ORDER BY instant ROWS UNBOUNDED PRECEDING)
)
SELECT *, sum((paid <> before)::INT) OVER (PARTITION BY mode ORDER BY instant ROWS UNBOUNDED PRECEDING) AS stretch
FROM (
    SELECT mode, instant, paid, {capital} + paid + earned AS equity,
        lag(paid, 1, 0) OVER (PARTITION BY mode ORDER BY instant) AS before FROM running
);
CREATE TEMP TABLE marks AS
WITH RECURSIVE stretches AS (
    SELECT mode, stretch, any_value(paid) AS paid, max(equity) AS most, arg_max(equity, instant) AS last
    FROM stretched GROUP BY mode, stretch
), begun AS (
    SELECT mode, stretch, paid, most, last, ({capital} + paid)::DECIMAL(38, 8) AS mark
    FROM stretches QUALIFY row_number() OVER (PARTITION BY mode ORDER BY stretch) = 1
    UNION ALL
    SELECT s.mode, s.stretch, s.paid, s.most, s.last, CASE WHEN s.paid < b.paid
        THEN round(greatest(b.mark, b.most)::DOUBLE * (b.last + s.paid - b.paid)::DOUBLE / b.last::DOUBLE, 8)::DECIMAL(38, 8)
        ELSE greatest(b.mark, b.most) + s.paid - b.paid END
    FROM begun b JOIN stretches s ON s.mode = b.mode AND s.stretch = b.stretch + 1
)
SELECT mode, stretch, mark FROM begun;
CREATE TEMP TABLE value AS
SELECT mode, instant, equity, greatest(mark, max(equity) OVER (
    PARTITION BY mode, stretch ORDER BY instant ROWS UNBOUNDED PRECEDING)) AS peak
FROM stretched JOIN marks USING (mode, stretch);
CREATE TEMP TABLE curve AS
SELECT mode, instant::DATE AS day, max(instant) AS "at", arg_max(equity, instant) AS equity, arg_max(peak, instant) AS peak,
    max((peak - equity)::DOUBLE / peak::DOUBLE) AS drawdown_ratio
FROM value GROUP BY mode, day ORDER BY mode, day;
CREATE TEMP TABLE latest AS
SELECT mode, max(instant) AS last, arg_max(equity, instant) AS equity, arg_max(peak, instant) AS peak,
    max((peak - equity)::DOUBLE / peak::DOUBLE) AS worst, max(instant) FILTER (equity >= peak) AS high
FROM value GROUP BY mode;
CREATE TEMP TABLE droughts AS
SELECT mode, max(epoch_us(coalesce(until, {now})) - epoch_us(instant)) AS longest, max(instant) FILTER (until IS NULL) AS since
FROM (
    SELECT mode, instant, below, lead(instant) OVER (PARTITION BY mode ORDER BY instant) AS until
    FROM (
        SELECT mode, instant, peak > equity AS below,
            lag(peak > equity, 1, false) OVER (PARTITION BY mode ORDER BY instant) AS before FROM value
    ) WHERE below <> before
) WHERE below GROUP BY mode;
INSERT INTO result
SELECT 'equity_usd', [mode, 'closed'], equity::DOUBLE FROM latest
UNION ALL SELECT 'equity_peak_usd', [mode, 'closed'], peak::DOUBLE FROM latest
UNION ALL SELECT 'drawdown_usd', [mode, 'closed'], (peak - equity)::DOUBLE FROM latest
UNION ALL SELECT 'drawdown_ratio', [mode, 'closed'], (peak - equity)::DOUBLE / peak::DOUBLE FROM latest
UNION ALL SELECT 'drawdown_max_ratio', [mode, 'closed'], worst FROM latest
UNION ALL SELECT 'equity_timestamp_seconds', [mode, 'closed'], epoch(last) FROM latest
UNION ALL SELECT 'drawdown_duration_seconds', [mode, 'closed'], coalesce(epoch({now} - since), 0)
    FROM latest LEFT JOIN droughts USING (mode)
UNION ALL SELECT 'drawdown_duration_max_seconds', [mode, 'closed'], coalesce(longest / 1e6, 0)
    FROM latest LEFT JOIN droughts USING (mode);

CREATE TEMP TABLE positions AS
SELECT mode, symbol, side, sum(quantity::DECIMAL(28, 8) * entry_price) AS amount FROM trades WHERE status = 'open'
GROUP BY mode, symbol, side;
CREATE TEMP TABLE exposures AS
SELECT mode, count(*) AS positions, sum(amount) AS exposure, max(amount) AS largest FROM positions GROUP BY mode;
CREATE TEMP TABLE risks AS
SELECT mode, count(*) FILTER (stop_loss IS NULL) AS without_stop,
    sum(greatest(0, CASE side WHEN 'long' THEN entry_price - stop_loss ELSE stop_loss - entry_price END * quantity::DECIMAL(20, 8))) AS risk
FROM trades WHERE status = 'open' GROUP BY mode;
INSERT INTO result
SELECT 'positions_open', [mode], positions FROM exposures
UNION ALL SELECT 'exposure_usd', [mode], exposure::DOUBLE FROM exposures
UNION ALL SELECT 'exposure_ratio', [mode], exposure::DOUBLE / equity::DOUBLE FROM exposures JOIN latest USING (mode)
UNION ALL SELECT 'position_max_ratio', [mode], largest::DOUBLE / equity::DOUBLE FROM exposures JOIN latest USING (mode)
UNION ALL SELECT 'positions_without_stop', [mode], without_stop FROM risks
UNION ALL SELECT 'risk_at_stops_usd', [mode], risk::DOUBLE FROM risks;
