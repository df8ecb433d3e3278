//! What operators do to the status of an incident: take it, work on it, let it wait, end it, bring it back.
//!
//! Whether they may is decided before, by the table (`guards.rs`). Ending and bringing back go the way on which the
//! engine does so by itself, with the same consequences.

use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::group::Incident;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    pub(in crate::engine) fn acknowledge(&mut self, now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Acknowledge)?;
        self.emit(now, group, Move::Acknowledge, Reason::ByHand, String::new());
        Ok(())
    }

    pub(in crate::engine) fn start(&mut self, now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Start)?;
        self.emit(now, group, Move::Start, Reason::Started, String::new());
        Ok(())
    }

    pub(in crate::engine) fn put_on_hold(&mut self, now: Timestamp, group: u32, reason: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Hold)?;
        let reason = checked("reason", reason, TEXT_BYTES_MAX, true)?;
        if let Some(incident) = self.incident_mut(group) {
            incident.work.hold = Some(reason.into());
        }
        self.emit(now, group, Move::Hold, Reason::OnHold, reason.to_owned());
        Ok(())
    }

    pub(in crate::engine) fn resume(&mut self, now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Resume)?;
        self.emit(now, group, Move::Resume, Reason::Resumed, String::new());
        Ok(())
    }

    /// With force, what still fires is let go, and the children of a storm that are open end with it.
    pub(in crate::engine) fn resolve_by_hand(
        &mut self,
        now: Timestamp,
        group: u32,
        force: bool,
        resolution: &str,
    ) -> Result<(), Refusal> {
        self.check_move(group, Move::Resolve)?;
        let resolution = checked("resolution", resolution, TEXT_BYTES_MAX, false)?.to_owned();
        self.remember_resolution(group, &resolution);
        if force {
            let whole = self.groups.slots[group].incident.as_deref().map(|incident| incident.id.to_string());
            for child in self.open_children(group) {
                let detail = format!("with its storm {}", whole.as_deref().unwrap_or_default());
                self.resolve_one(now, child, &resolution, detail);
            }
            self.end_storm(group);
        }
        if self.status_of(group).is_live() {
            self.resolve_one(now, group, &resolution, resolution.clone());
        }
        Ok(())
    }

    fn resolve_one(&mut self, now: Timestamp, group: u32, resolution: &str, mut detail: String) {
        let let_go = self.let_go_of_alerts(group);
        if let_go > 0 {
            let alerts = if let_go == 1 { "1 alert that still fires is" } else { "alerts that still fire are" };
            let words = if let_go == 1 { format!("{alerts} let go") } else { format!("{let_go} {alerts} let go") };
            detail = if detail.is_empty() { words } else { format!("{detail}; {words}") };
        }
        self.remember_resolution(group, resolution);
        self.end(now, group, Reason::ByHand, detail);
    }

    /// What an operator brings back stays open for as long as something of it fires; where nothing does, until a
    /// person resolves it.
    pub(in crate::engine) fn reopen_by_hand(&mut self, now: Timestamp, group: u32, why: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Reopen)?;
        let why = checked("reason", why, TEXT_BYTES_MAX, true)?.to_owned();
        if self.groups.slots[group].storm.is_some() {
            self.storm_goes_on(now, group, Reason::ByHand, why);
            return Ok(());
        }
        let first = self.groups.slots[group].incident.as_deref().map(|incident| incident.relations.first_event);
        self.bring_back(now, group, (now, first.unwrap_or(now)), Reason::ByHand, why);
        self.schedule_group(group);
        Ok(())
    }

    pub(in crate::engine) fn close_by_hand(&mut self, now: Timestamp, group: u32, end: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Close)?;
        let resolution = checked("resolution", end, TEXT_BYTES_MAX, false)?;
        self.remember_resolution(group, resolution);
        let detail = if resolution.is_empty() { "final".to_owned() } else { resolution.to_owned() };
        self.close(now, group, Reason::ByHand, detail);
        Ok(())
    }

    fn remember_resolution(&mut self, group: u32, resolution: &str) {
        if let Some(incident) = self.incident_mut(group).filter(|_| !resolution.is_empty()) {
            incident.work.resolution = Some(resolution.into());
        }
    }

    fn incident_mut(&mut self, group: u32) -> Option<&mut Incident> {
        self.groups.slots.get_mut(group)?.incident.as_deref_mut()
    }
}
