-- What keeps recurring. The engine restores open problems from its journal; a closed one is here alone, the newest 10,000
-- of them. Written in the commit of the incident that recurred.
CREATE TABLE problems (
    id          TEXT    NOT NULL PRIMARY KEY,
    status      TEXT    NOT NULL, -- open or closed
    opened_at   TEXT    NOT NULL,
    updated_at  TEXT    NOT NULL,
    rule        TEXT    NOT NULL,
    signature   TEXT    NOT NULL,
    recurrences INTEGER NOT NULL,
    doc         TEXT    NOT NULL -- the problem as JSON, as the API shows it
) STRICT;
CREATE INDEX problems_newest ON problems (opened_at DESC, id DESC);
CREATE INDEX problems_closed ON problems (updated_at) WHERE status = 'closed';

-- For people: the problems without their documents.
CREATE VIEW problems_view AS
SELECT id, status, opened_at, updated_at, rule, recurrences,
       doc ->> '$.title'      AS title,
       doc ->> '$.reason'     AS reason,
       doc ->> '$.resolution' AS resolution
FROM problems;
