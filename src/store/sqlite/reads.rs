//! The reading side: queries on a few shared read-only connections.
//!
//! At most [`CONNECTIONS_MAX`] queries run at once; beyond, callers wait for one to end. Every query is short but one:
//! [`Reads::replay`] streams a shard's state (`replay.rs`).

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::schema;
use super::values::{id_of, instant_of, limit_of, text_of, unreadable};
use crate::delivery::{Action, Delivery};
use crate::event::{Position, Timestamp};
use crate::identity::{IncidentId, ProblemId};
use crate::store::{IncidentQuery, PendingDelivery, Reads, ShardPosition, StoreError, TimelineEntry};

/// Each costs up to 4 MiB of cache.
const CONNECTIONS_MAX: usize = 4;

/// The pool of connections, and the queries.
#[derive(Debug)]
pub(super) struct SqliteReads {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
}

/// Gives its connection back when dropped.
struct Lease<'a> {
    reads: &'a SqliteReads,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut pool = self.reads.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.lent -= 1;
        pool.idle.extend(self.connection.take());
        self.reads.returned.notify_one();
    }
}

impl SqliteReads {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, pool: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn with<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = self.lease();
        if lease.connection.is_none() {
            lease.connection = Some(schema::open_reader(&self.path)?);
        }
        query(lease.connection.as_mut().expect("opened above"))
    }

    /// The right to a connection, with an open one where one is idle.
    fn lease(&self) -> Lease<'_> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while pool.lent >= CONNECTIONS_MAX {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.lent += 1;
        Lease { reads: self, connection: pool.idle.pop() }
    }

    fn deliveries(
        &self,
        sink: &str,
        parked: bool,
        after_row: i64,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT row, incident, sequence, action, created_at, attempts, last_error, parked, body FROM deliveries
                 WHERE sink = ?1 AND parked = ?2 AND row > ?3 ORDER BY row LIMIT ?4",
            )?;
            let sink: Arc<str> = sink.into();
            let rows = statement.query(params![&*sink, parked, after_row, limit_of(limit)])?;
            collect(rows, |row| delivery(&sink, row))
        })
    }
}

impl Reads for SqliteReads {
    fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        self.with(|connection| Ok(connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?))
    }

    fn replay(&self, shard: u16, each: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(u64, u64), StoreError> {
        super::replay::replay(self, shard, each)
    }

    fn positions(&self) -> Result<Vec<ShardPosition>, StoreError> {
        self.with(|connection| {
            let sql = "SELECT shard, source, topic, partition, next_offset FROM positions ORDER BY 1, 2, 3, 4";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query([])?, position)
        })
    }

    fn incidents(&self, query: &IncidentQuery) -> Result<Vec<(Timestamp, IncidentId, String)>, StoreError> {
        let [after, before] =
            [query.after, query.before].map(|place| place.map(|(opened_at, id)| (text_of(opened_at), id.to_string())));
        let (sql, mut values) = listing(query, after.as_ref(), before.as_ref());
        let limit = limit_of(query.limit);
        values.push(&limit);
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            collect(statement.query(&*values)?, |row| {
                Ok((instant_of(text(row, 0)?)?, id_of(text(row, 1)?)?, row.get(2)?))
            })
        })
    }

    fn incident(&self, id: IncidentId) -> Result<Option<String>, StoreError> {
        let (sql, id) = ("SELECT doc FROM incidents WHERE id = ?1", id.to_string());
        self.with(|connection| Ok(connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?))
    }

    fn incident_alerts(&self, id: IncidentId) -> Result<Option<String>, StoreError> {
        let (sql, id) = ("SELECT alerts FROM incidents WHERE id = ?1", id.to_string());
        let found: Option<Option<String>> = self
            .with(|connection| Ok(connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?))?;
        Ok(found.flatten())
    }

    fn timeline(&self, id: IncidentId, limit: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        let sql = "SELECT sequence, at, by, what, reason, detail FROM timeline
                   WHERE incident = ?1 ORDER BY sequence DESC LIMIT ?2";
        let mut entries = self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query(params![id.to_string(), limit_of(limit)])?, |row| timeline_entry(id, row))
        })?;
        entries.reverse();
        Ok(entries)
    }

    fn timeline_from(&self, id: IncidentId, first: u64, limit: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        let sql = "SELECT sequence, at, by, what, reason, detail FROM timeline
                   WHERE incident = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3";
        let first = i64::try_from(first).unwrap_or(i64::MAX);
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query(params![id.to_string(), first, limit_of(limit)])?, |row| timeline_entry(id, row))
        })
    }

    fn silences(&self) -> Result<Vec<(String, u16, String)>, StoreError> {
        let sql = "SELECT id, shard, doc FROM silences ORDER BY id, shard";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query([])?, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })
    }

    fn problems(&self, status: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT doc FROM problems WHERE ?1 IS NULL OR status = ?1 ORDER BY opened_at DESC, id DESC LIMIT ?2";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query(params![status, limit_of(limit)])?, |row| Ok(row.get(0)?))
        })
    }

    fn problem(&self, id: ProblemId) -> Result<Option<String>, StoreError> {
        let (sql, id) = ("SELECT doc FROM problems WHERE id = ?1", id.to_string());
        self.with(|connection| Ok(connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?))
    }

    fn pending(&self, sink: &str, after_row: i64, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        self.deliveries(sink, false, after_row, limit)
    }

    fn parked(&self, sink: &str, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        self.deliveries(sink, true, 0, limit)
    }

    fn backlog(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT sink, count(*) FROM deliveries GROUP BY sink ORDER BY sink";
        self.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query([])?, |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
        })
    }
}

fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, StoreError> {
    row.get_ref(column)?.as_str().map_err(|error| unreadable("text", &error.to_string()))
}

/// The query's text names only the conditions asked for, so that SQLite can choose the index that fits.
fn listing<'a>(
    query: &'a IncidentQuery,
    after: Option<&'a (String, String)>,
    before: Option<&'a (String, String)>,
) -> (String, Vec<&'a dyn ToSql>) {
    let mut sql = "SELECT opened_at, id, doc FROM incidents WHERE 1".to_owned();
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let equals =
        [("status", &query.status), ("priority", &query.priority), ("service", &query.service), ("rule", &query.rule)];
    for (column, value) in equals.into_iter().filter_map(|(column, value)| Some((column, value.as_ref()?))) {
        sql.push_str(&format!(" AND {column} = ?"));
        values.push(value);
    }
    // Written out, because an index over some of the rows serves only who says that it wants those.
    match query.status.as_deref() {
        Some("closed") => sql.push_str(" AND status = 'closed'"),
        Some(_) => sql.push_str(" AND status <> 'closed'"),
        None => {}
    }
    for (place, side) in [(after, "<"), (before, ">")] {
        if let Some((opened_at, id)) = place {
            sql.push_str(&format!(" AND (opened_at, id) {side} (?, ?)"));
            values.extend([opened_at as &dyn ToSql, id]);
        }
    }
    sql.push_str(" ORDER BY opened_at DESC, id DESC LIMIT ?");
    (sql, values)
}

fn position(row: &Row<'_>) -> Result<ShardPosition, StoreError> {
    let position = Position {
        source: text(row, 1)?.into(),
        topic: text(row, 2)?.into(),
        partition: row.get(3)?,
        next_offset: row.get(4)?,
    };
    Ok(ShardPosition { shard: row.get(0)?, position })
}

fn action(row: &Row<'_>, column: usize) -> Result<Action, StoreError> {
    let name = text(row, column)?;
    Action::parse(name).ok_or_else(|| unreadable("an action", name))
}

fn timeline_entry(incident: IncidentId, row: &Row<'_>) -> Result<TimelineEntry, StoreError> {
    Ok(TimelineEntry {
        incident,
        sequence: row.get::<_, i64>(0)? as u64,
        at: instant_of(text(row, 1)?)?,
        by: row.get(2)?,
        what: action(row, 3)?,
        reason: row.get::<_, String>(4)?.into(),
        detail: row.get(5)?,
    })
}

fn delivery(sink: &Arc<str>, row: &Row<'_>) -> Result<PendingDelivery, StoreError> {
    let delivery = Delivery {
        sink: Arc::clone(sink),
        incident: id_of(text(row, 1)?)?,
        sequence: row.get::<_, i64>(2)? as u64,
        action: action(row, 3)?,
        created_at: instant_of(text(row, 4)?)?,
        body: row.get(8)?,
    };
    Ok(PendingDelivery {
        row: row.get(0)?,
        delivery,
        attempts: row.get(5)?,
        last_error: row.get(6)?,
        parked: row.get(7)?,
    })
}
