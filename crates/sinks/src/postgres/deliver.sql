-- One delivery, one transaction: the events that are not there yet, what they begin and end, and the cursor.
WITH given AS MATERIALIZED (
    SELECT g.incarnation, g.seq, g.type, g.at, g.event::jsonb AS event
    FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[])
        AS g (incarnation, seq, type, at, event)
), fresh AS (
    INSERT INTO sipway.events (node, incarnation, seq, type, time, subject, data)
    SELECT $1, incarnation, seq, type, timestamptz 'epoch' + at * interval '1 microsecond', event ->> 'subject', event -> 'data'
    FROM given
    ON CONFLICT DO NOTHING
    RETURNING incarnation, seq, type, data
), changed AS (
    SELECT
        incarnation, seq,
        split_part(type, '.', 1) AS what,
        type IN ('flow.opened', 'binding.added', 'user.online') AS begins,
        CASE WHEN type IN ('flow.opened', 'flow.closed') THEN data ->> 'flow'
            WHEN type IN ('user.online', 'user.offline') THEN data ->> 'aor'
            ELSE concat_ws(' ', data ->> 'aor', data ->> 'contact', data ->> 'flow') END AS key
    FROM fresh
    WHERE type IN ('flow.opened', 'flow.closed', 'binding.added', 'binding.removed', 'user.online', 'user.offline')
), latest AS (
    SELECT DISTINCT ON (what, key) what, key, begins, incarnation, seq
    FROM changed
    WHERE key IS NOT NULL
    ORDER BY what, key, incarnation DESC, seq DESC
), begun AS (
    INSERT INTO sipway.standing (node, what, key, incarnation, seq)
    SELECT $1, what, key, incarnation, seq FROM latest WHERE begins
    ON CONFLICT (node, what, key) DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq
    WHERE (standing.incarnation, standing.seq) < (excluded.incarnation, excluded.seq)
), ended AS (
    DELETE FROM sipway.standing s USING latest l
    WHERE NOT l.begins AND s.node = $1 AND s.what = l.what AND s.key = l.key
        AND (s.incarnation, s.seq) < (l.incarnation, l.seq)
), moved AS (
    INSERT INTO sipway.cursors (node, sink, incarnation, seq) VALUES ($1, $2, $8, $9)
    ON CONFLICT (node, sink) DO UPDATE SET incarnation = excluded.incarnation, seq = excluded.seq, moved_at = now()
)
SELECT count(*) FROM fresh
