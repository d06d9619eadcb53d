-- SPDX-FileCopyrightText: 2026 mailgate contributors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Events of all gateways. Four tables are partitioned by month (UTC): a month is removed by dropping its partitions.
-- The number of an event, `seq`, is the second of its time, the number of its gateway and a counter of the gateway
-- (33, 6 and 24 bits): it is unique, and numbers sort by time.

CREATE TABLE gateways (
    number smallint PRIMARY KEY CHECK (number BETWEEN 0 AND 63),
    name text NOT NULL UNIQUE,
    counter bigint NOT NULL DEFAULT 0
);

-- How far each file of events has been read; written with the events, so each is stored once.
CREATE TABLE positions (
    gateway smallint NOT NULL REFERENCES gateways,
    day text NOT NULL,
    name text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (gateway, day, name)
);

-- Files of days before this one are not read again: their months were removed.
CREATE TABLE removed (before text NOT NULL);
INSERT INTO removed VALUES ('');

-- Each event, compressed.
CREATE TABLE events (seq bigint PRIMARY KEY, body bytea NOT NULL) PARTITION BY RANGE (seq);
ALTER TABLE events ALTER COLUMN body SET STORAGE EXTERNAL;

-- By term, the events that have it.
CREATE TABLE terms (term bigint, seq bigint, PRIMARY KEY (term, seq)) PARTITION BY RANGE (seq);

-- What reports count, per hour since 1970.
CREATE TABLE facts (
    hour integer,
    dimension text,
    key text,
    gateway smallint,
    number bigint NOT NULL,
    PRIMARY KEY (dimension, hour, key, gateway)
) PARTITION BY RANGE (hour);

-- The same of each day (since 1970, UTC), so that reports of months read less. A gateway adds up its days that are over,
-- and removes the sums of a day when it has new facts.
CREATE TABLE day_sums (
    day integer NOT NULL,
    gateway smallint NOT NULL,
    dimension text NOT NULL,
    key text NOT NULL,
    number bigint NOT NULL
) PARTITION BY RANGE (day);
-- Sums are read from the largest on.
CREATE INDEX ON day_sums (dimension, day, gateway, number DESC) INCLUDE (key);

-- The days whose sums are complete.
CREATE TABLE summed_days (
    gateway smallint NOT NULL REFERENCES gateways,
    day integer NOT NULL,
    PRIMARY KEY (gateway, day)
);

CREATE FUNCTION months() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = mailgate, pg_temp
AS $$
    SELECT right(inhrelid::regclass::text, 6) FROM pg_catalog.pg_inherits WHERE inhparent = 'mailgate.events'::regclass
$$;

-- Create the partitions of months (YYYYMM) that have none. Attaching, unlike creating in place, blocks no reader.
CREATE FUNCTION create_months(wanted text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = mailgate, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
    month text;
    since bigint;
    until bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('mailgate.months'));
    FOREACH month IN ARRAY wanted LOOP
        IF month !~ '^[0-9]{6}$' THEN
            RAISE EXCEPTION 'not a month: %', month;
        END IF;
        CONTINUE WHEN to_regclass('events_' || month) IS NOT NULL;
        since := extract(epoch FROM to_timestamp(month, 'YYYYMM'));
        until := extract(epoch FROM to_timestamp(month, 'YYYYMM') + interval '1 month');
        EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', 'events_' || month);
        EXECUTE format('CREATE TABLE %I (LIKE terms INCLUDING ALL)', 'terms_' || month);
        -- Counters of the current hours are updated in place.
        EXECUTE format('CREATE TABLE %I (LIKE facts INCLUDING ALL) WITH (fillfactor = 80)', 'facts_' || month);
        EXECUTE format('CREATE TABLE %I (LIKE day_sums INCLUDING ALL)', 'day_sums_' || month);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       'events_' || month, since << 30, until << 30);
        EXECUTE format('ALTER TABLE terms ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       'terms_' || month, since << 30, until << 30);
        EXECUTE format('ALTER TABLE facts ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       'facts_' || month, since / 3600, until / 3600);
        EXECUTE format('ALTER TABLE day_sums ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                       'day_sums_' || month, since / 86400, until / 86400);
    END LOOP;
END
$$;

-- Remove all months before one (YYYYMM) for good; return their number.
CREATE FUNCTION drop_months(first text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = mailgate, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
    month text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('mailgate.months'));
    FOR month IN SELECT each FROM months() AS each WHERE each < first ORDER BY each LOOP
        EXECUTE format('DROP TABLE %I, %I, %I, %I',
                       'events_' || month, 'terms_' || month, 'facts_' || month, 'day_sums_' || month);
        dropped := dropped + 1;
    END LOOP;
    UPDATE removed SET before = first || '01' WHERE before < first || '01';
    DELETE FROM positions WHERE day < first || '01';
    DELETE FROM summed_days WHERE day < extract(epoch FROM to_timestamp(first, 'YYYYMM')) / 86400;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION create_months(text[]), drop_months(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_months(text[]), drop_months(text) TO mailgate_gateway;
GRANT SELECT, INSERT, UPDATE ON gateways, positions, facts TO mailgate_gateway;
GRANT SELECT, INSERT ON events, terms TO mailgate_gateway;
GRANT SELECT, INSERT, DELETE ON day_sums, summed_days TO mailgate_gateway;
GRANT SELECT ON removed TO mailgate_gateway;
