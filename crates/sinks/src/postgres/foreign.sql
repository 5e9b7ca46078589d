-- Of these events, the first whose place is taken by another one.
SELECT g.incarnation, g.seq
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) AS g (incarnation, seq, type, at)
JOIN sipway.events e ON e.node = $1 AND e.incarnation = g.incarnation AND e.seq = g.seq
WHERE e.type <> g.type OR e.time <> timestamptz 'epoch' + g.at * interval '1 microsecond'
ORDER BY g.incarnation, g.seq
LIMIT 1
