-- What a PostgreSQL sink of Sipway needs. The sink runs this itself if its role may create a schema; otherwise run it as a
-- role that may, and grant the sink's role:
--   GRANT USAGE ON SCHEMA sipway TO role;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sipway TO role;
-- Running it again changes nothing.
CREATE SCHEMA IF NOT EXISTS sipway;

-- The version of what is below.
CREATE TABLE IF NOT EXISTS sipway.schema_version (
    version integer PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);

-- Every event, once. Its CloudEvents id is node.incarnation.seq; within one node (incarnation, seq) is the order of events.
CREATE TABLE IF NOT EXISTS sipway.events (
    node text NOT NULL,
    incarnation bigint NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    -- The address-of-record of a binding's or a user's event, otherwise the flow.
    subject text,
    data jsonb NOT NULL,
    PRIMARY KEY (node, incarnation, seq)
);
CREATE INDEX IF NOT EXISTS events_subject ON sipway.events (subject, type);
CREATE INDEX IF NOT EXISTS events_time ON sipway.events USING brin (time);

-- What is there right now: the event that began it. Kept in the transaction that brings the events.
CREATE TABLE IF NOT EXISTS sipway.standing (
    node text NOT NULL,
    what text NOT NULL, -- flow, binding, user
    key text NOT NULL,
    incarnation bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (node, what, key)
);

-- How far each sink of each node has come, moved in the transaction that brings the events.
CREATE TABLE IF NOT EXISTS sipway.cursors (
    node text NOT NULL,
    sink text NOT NULL,
    incarnation bigint NOT NULL,
    seq bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, sink)
);

-- Connections that are open now.
CREATE OR REPLACE VIEW sipway.flows_open AS
SELECT
    e.node,
    s.key AS flow,
    e.time AS opened_at,
    e.data ->> 'transport' AS transport,
    e.data ->> 'remote' AS remote,
    e.data ->> 'user_agent' AS user_agent,
    e.data
FROM sipway.standing s
JOIN sipway.events e USING (node, incarnation, seq)
WHERE s.what = 'flow';

-- Who can be called now: one row for each contact of each address-of-record.
CREATE OR REPLACE VIEW sipway.users_online AS
SELECT
    e.data ->> 'aor' AS aor,
    e.data ->> 'contact' AS contact,
    e.data ->> 'flow' AS flow,
    e.node,
    e.time AS since,
    e.data ->> 'transport' AS transport,
    e.data ->> 'remote' AS remote,
    e.data ->> 'user_agent' AS user_agent
FROM sipway.standing s
JOIN sipway.events e USING (node, incarnation, seq)
WHERE s.what = 'binding';

-- Who is online, by user.online and user.offline: one row for each user, also for one who is expected back any moment.
CREATE OR REPLACE VIEW sipway.presence AS
SELECT e.data ->> 'aor' AS aor, e.time AS since, e.node
FROM sipway.standing s
JOIN sipway.events e USING (node, incarnation, seq)
WHERE s.what = 'user';

-- Every connection: when it opened, when and why it ended. One that is open has no end.
CREATE OR REPLACE VIEW sipway.flows AS
SELECT
    o.node,
    o.subject AS flow,
    o.time AS opened_at,
    c.time AS closed_at,
    (c.data ->> 'duration_ms')::bigint * interval '1 millisecond' AS duration,
    c.data ->> 'by' AS closed_by,
    c.data ->> 'cause' AS cause,
    (c.data ->> 'code')::integer AS code,
    c.data ->> 'certainty' AS certainty,
    c.data ->> 'identity' AS identity,
    o.data ->> 'remote' AS remote,
    o.data ->> 'user_agent' AS user_agent
FROM sipway.events o
LEFT JOIN sipway.events c ON c.subject = o.subject AND c.type = 'flow.closed' AND c.node = o.node
WHERE o.type = 'flow.opened';

INSERT INTO sipway.schema_version (version) VALUES (1) ON CONFLICT DO NOTHING;
