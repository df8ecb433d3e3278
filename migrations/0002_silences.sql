-- What people have muted. For people: the engine reads its journal. A silence is in every shard, which counts what it
-- has muted there; it goes five days after its end.
CREATE TABLE silences (
    id         TEXT    NOT NULL,
    shard      INTEGER NOT NULL,
    state      TEXT    NOT NULL, -- pending, active or expired
    starts_at  TEXT    NOT NULL,
    ends_at    TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    comment    TEXT    NOT NULL,
    doc        TEXT    NOT NULL, -- the silence as JSON, as the API shows it
    PRIMARY KEY (id, shard)
) STRICT, WITHOUT ROWID;

-- For people: each silence once, with what it has muted in all shards.
CREATE VIEW silences_view AS
SELECT id, state, starts_at, ends_at, created_by, comment,
       doc ->> '$.matchers'               AS matchers,
       sum(doc ->> '$.muting')            AS muting,
       sum(doc ->> '$.muted_alerts')      AS muted_alerts,
       sum(doc ->> '$.muted_events')      AS muted_events
FROM silences GROUP BY id;
