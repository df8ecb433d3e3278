-- The first format of incidentd.db. Instants are text, RFC 3339 in UTC with six decimals, so that they read and
-- sort alike. Applied in one transaction; what is here is never edited, a change is a new file.

PRAGMA application_id = 0x494e4344; -- "INCD"

-- About the data directory itself.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Hot state of the engine: one row per shard and commit. The bytes are the engine's own; the checksum is XXH3 (64 bit)
-- over them, seeded with shard and seq.
CREATE TABLE journal (
    seq      INTEGER PRIMARY KEY,
    shard    INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;

-- Slices of a shard's snapshot, written over many commits.
CREATE TABLE snapshot_slices (
    shard        INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    journal_from INTEGER NOT NULL, -- the first journal entry that its commit could have written
    checksum     INTEGER NOT NULL,
    bytes        BLOB    NOT NULL,
    PRIMARY KEY (shard, generation, part)
) STRICT;

-- The newest complete snapshot of each shard. Older slices, and journal entries before journal_from, are garbage.
CREATE TABLE snapshots (
    shard        INTEGER PRIMARY KEY,
    generation   INTEGER NOT NULL,
    parts        INTEGER NOT NULL,
    journal_from INTEGER NOT NULL
) STRICT;

-- What each shard has applied of each Kafka partition.
CREATE TABLE positions (
    shard       INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (shard, source, topic, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE incidents (
    id         TEXT NOT NULL PRIMARY KEY,
    opened_at  TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    status     TEXT NOT NULL,
    priority   TEXT NOT NULL,
    service    TEXT,
    rule       TEXT NOT NULL,
    doc        TEXT NOT NULL, -- the incident as JSON, as the API shows it
    alerts     TEXT           -- once it is closed: its alerts as a JSON array, at most 1,000
) STRICT;
CREATE INDEX incidents_newest ON incidents (opened_at DESC, id DESC);
CREATE INDEX incidents_unclosed ON incidents (opened_at DESC, id DESC) WHERE status <> 'closed';
CREATE INDEX incidents_closed_newest ON incidents (opened_at DESC, id DESC) WHERE status = 'closed';
CREATE INDEX incidents_closed ON incidents (updated_at) WHERE status = 'closed';

CREATE TABLE timeline (
    incident TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    at       TEXT    NOT NULL,
    by       TEXT    NOT NULL,
    what     TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    PRIMARY KEY (incident, sequence)
) STRICT, WITHOUT ROWID;

-- The outbox: what sinks have not confirmed yet. A confirmed delivery is deleted; its row number is never used again.
CREATE TABLE deliveries (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    sink       TEXT    NOT NULL,
    incident   TEXT    NOT NULL,
    sequence   INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    parked     INTEGER NOT NULL DEFAULT 0,
    body       BLOB    NOT NULL,
    UNIQUE (sink, incident, sequence)
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (sink, parked);

-- For people: the incidents without their documents.
CREATE VIEW incidents_view AS
SELECT id, status, priority, opened_at, updated_at, service, rule,
       doc ->> '$.title'        AS title,
       doc ->> '$.severity'     AS severity,
       doc ->> '$.assignee'     AS assignee,
       doc ->> '$.alerts.total' AS alerts
FROM incidents;
