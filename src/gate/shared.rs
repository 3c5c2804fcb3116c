//! Rate limits shared by replicas in Redis or Valkey. Each call runs one Lua script there.

mod connection;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics::Counter;
use redis::{RedisResult, Script, ScriptInvocation};

use super::limiter::{LimitSubject, Limiter, UnreportedCounts};
use crate::config::{Outage, Redis};
use crate::domain::limit::{Limit, LimitState, Window};
use crate::domain::{Clock, Error, Result};
use connection::{Reconnector, RedisConnection};

pub use connection::{Report, examine};

/// Response of the script: its time, whether the cost was charged, and per limit the sub-windows as pairs of newest
/// call and count.
type Answer = (i64, i64, Vec<Vec<i64>>);

/// Shared counts with the connection to them.
pub struct Shared {
    keeper: Reconnector,
    script: Arc<Script>,
    names: Names,
    outage: Outage,
    clock: Clock,
    missed: Counter,
}

/// Redis key names of this instance, so that several instances can share a server.
#[derive(Clone)]
struct Names {
    instance: String,
}

impl Names {
    fn of(&self, held: &LimitSubject) -> String {
        format!("gatepost:{}:limit:{}", self.instance, held.subject)
    }

    /// Returns the name of the key used to test whether counting works.
    fn of_trial(&self) -> String {
        format!("gatepost:{}:trial", self.instance)
    }
}

fn script() -> Script {
    Script::new(include_str!("shared/count.lua"))
}

impl Shared {
    /// Connects if possible. If not, or when the connection breaks, it retries in the background.
    pub async fn start(redis: &Redis, instance: String, clock: Clock) -> Result<Self> {
        metrics::describe_counter!(
            "gatepost_shared_limits_missed_total",
            "Calls that could not be counted in Redis: this process counted alone, or refused them with 503"
        );
        let (script, names) = (Arc::new(script()), Names { instance });
        let keeper = Reconnector::start(redis, Arc::clone(&script), names.of_trial()).await?;
        let missed = metrics::counter!("gatepost_shared_limits_missed_total");
        Ok(Self { keeper, script, names, outage: redis.outage, clock, missed })
    }

    /// Charges `cost` to all limits if it fits into all of them, else to none. Returns them in the order of `held`.
    ///
    /// # Errors
    /// `Unavailable` if Redis does not respond and the settings forbid to count alone, or like [`Limiter::take`].
    pub async fn take(
        &self,
        own: &Limiter,
        held: &[LimitSubject],
        now: DateTime<Utc>,
        cost: u64,
    ) -> Result<Vec<LimitState>> {
        if let Some(standings) = self.ask(own, held, now, cost, true).await {
            return Ok(standings);
        }
        self.missed.increment(1);
        self.may_be_away()?;
        own.take(held, now, cost)
    }

    /// Checks whether `cost` would fit. Charges nothing.
    ///
    /// # Errors
    /// Like [`Shared::take`].
    pub async fn look(
        &self,
        own: &Limiter,
        held: &[LimitSubject],
        now: DateTime<Utc>,
        cost: u64,
    ) -> Result<Vec<LimitState>> {
        match self.ask(own, held, now, cost, false).await {
            Some(standings) => Ok(standings),
            None => self.may_be_away().map(|()| own.look(held, now, cost)),
        }
    }

    pub fn is_up(&self) -> bool {
        self.keeper.line().is_some()
    }

    /// Fails if calls cannot be counted now.
    pub fn must_be_able(&self) -> Result<()> {
        if self.is_up() { Ok(()) } else { self.may_be_away() }
    }

    fn may_be_away(&self) -> Result<()> {
        match self.outage {
            Outage::FailOpen => Ok(()),
            Outage::FailClosed => Err(Error::unavailable("limits are counted in Redis, which does not answer")),
        }
    }

    /// Runs the script. Returns `None` if Redis does not respond, or not as expected.
    async fn ask(
        &self,
        own: &Limiter,
        held: &[LimitSubject],
        now: DateTime<Utc>,
        cost: u64,
        takes: bool,
    ) -> Option<Vec<LimitState>> {
        let mut line = self.keeper.line()?;
        match self.answered(&mut line, own, held, now, cost, takes).await {
            Ok(standings) => Some(standings),
            Err(error) => {
                self.keeper.broke(&line, &error);
                None
            }
        }
    }

    async fn answered(
        &self,
        line: &mut RedisConnection,
        own: &Limiter,
        held: &[LimitSubject],
        now: DateTime<Utc>,
        cost: u64,
        takes: bool,
    ) -> RedisResult<Vec<LimitState>> {
        let mut call = self.script.prepare_invoke();
        begin(&mut call, self.clock.offset().num_microseconds().unwrap_or(0), cost, takes);
        let told: Vec<UnreportedCounts> = held.iter().map(|one| own.untold(*one, line.number)).collect();
        for (one, untold) in held.iter().zip(&told) {
            add(&mut call, &self.names.of(one), one.limit, untold);
        }
        let (at, is_taken, windows): Answer = call.invoke_async(&mut line.connection).await?;
        let at = DateTime::from_timestamp_micros(at).unwrap_or(now);
        let stands = |((one, told), counts): ((&LimitSubject, &UnreportedCounts), &Vec<i64>)| {
            let mut window = Window::of(one.limit, pairs(counts));
            let standing = if is_taken == 1 { window.taken(at, cost) } else { window.look(at, cost) };
            own.hear(*one, now, line.number, told, window);
            standing
        };
        Ok(held.iter().zip(&told).zip(&windows).map(stands).collect())
    }
}

fn begin(call: &mut ScriptInvocation<'_>, offset: i64, cost: u64, takes: bool) {
    call.arg(offset).arg(cost).arg(if takes { "take" } else { "look" });
}

fn add(call: &mut ScriptInvocation<'_>, name: &str, limit: Limit, untold: &UnreportedCounts) {
    call.key(name).arg(limit.quota).arg(limit.sub_window()).arg(limit.window());
    let window = untold.window.as_ref();
    call.arg(if untold.is_counted { "always" } else { "absent" }).arg(window.map_or(0, |window| window.counts().len()));
    for (newest, count) in window.into_iter().flat_map(Window::counts) {
        call.arg(newest).arg(count);
    }
}

fn pairs(flat: &[i64]) -> impl Iterator<Item = (i64, u64)> {
    flat.chunks_exact(2).filter_map(|pair| match pair {
        [newest, count] => Some((*newest, u64::try_from(*count).ok()?)),
        _ => None,
    })
}
