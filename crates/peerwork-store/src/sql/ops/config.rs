//! Reading and changing what is set.

use crate::config::too_many;
use crate::sql::engine::Operation;
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::limits::{count, fill, parse, read_limits, sort};
use crate::sql::rows::readable;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::Row;
use crate::{Applied, Config, SettingRow};
use peerwork_core::{
    Rooms, SETTINGS_MAX, SETTLE_MS, Scope, ScopeKey, Setting, SettingChange, Timestamp,
};

pub(crate) struct ReadConfig;

impl Operation for ReadConfig {
    const NAME: &'static str = "read what is set";
    type Answer = Config;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Config, Fault> {
        // The version first: settings that are newer than it make its reader look again, older ones would not.
        let sql = tx.sql("select version, policy from ~config where id = 1");
        let mut config = Config::default();
        if let Some(mut row) = tx.fetch(sql).await?.first() {
            config.version = u64::try_from(row.int()?).unwrap_or_default();
            config.policy = row.opt_text()?;
        }
        let mut sql = tx
            .sql("select sort, name, user_name, spec, unsettled from ~setting order by id limit ");
        sql.bind(SETTINGS_MAX);
        let mut rows = tx.fetch(sql).await?;
        let read = |mut row: Row<'_>| readable("a setting", setting_row(&mut row));
        config.settings = rows.rows().filter_map(read).collect();
        Ok(config)
    }
}

fn setting_row(row: &mut Row<'_>) -> Result<SettingRow, Fault> {
    let sort = sort(row)?;
    let names = (row.name("setting")?, row.name("user")?);
    let scope = Scope::of(sort, names);
    let setting = parse(&row.text()?).unwrap_or_else(|fault| {
        tracing::error!(%scope, %fault, "this version cannot read what is set: nothing of it is claimed here");
        Setting::unreadable()
    });
    Ok(SettingRow {
        scope,
        setting,
        unsettled: row.opt_time()?,
    })
}

pub(crate) struct ReadFull {
    pub keys: Vec<ScopeKey>,
}

impl Operation for ReadFull {
    const NAME: &'static str = "look at limits";
    type Answer = Vec<ScopeKey>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<ScopeKey>, Fault> {
        let limits = read_limits(tx, &self.keys.iter().copied().collect()).await?;
        let running = count(tx, &limits).await?;
        let mut rooms = Rooms::new(tx.now().await?);
        for (key, limit) in &limits {
            let running = running.get(key).copied().unwrap_or(0);
            rooms.add(*key, &limit.setting, running, limit.full_at, None);
        }
        Ok(rooms.full().into_iter().map(|(key, _)| key).collect())
    }
}

pub(crate) struct SetScope {
    pub scope: Scope,
    pub changes: Vec<SettingChange>,
}

impl Operation for SetScope {
    const NAME: &'static str = "set";
    type Answer = Applied;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Applied, Fault> {
        take_turn_to_set(tx).await?;
        let now = tx.now().await?;
        let known = self.known(tx).await?;
        let mut setting = known.clone().unwrap_or_default();
        for change in &self.changes {
            setting
                .change(&self.scope, change.clone(), now)
                .map_err(|why| self.refused(why))?;
        }
        // What cannot be read is known as nothing, and is cleared away.
        let is_as_before = known.as_ref() == Some(&setting) && !setting.is_empty();
        if is_as_before || (known.is_none() && setting.is_empty()) {
            return applied(tx).await;
        }
        raise_version(tx).await?;
        match known {
            None if setting.is_empty() => {}
            None => self.insert(tx, &setting, now).await?,
            Some(_) if setting.is_empty() => {
                let mut sql = tx.sql("delete from ~setting where id = ");
                sql.bind(self.scope.key().0);
                tx.execute_exactly(sql, 1).await?;
            }
            Some(_) => self.update(tx, &setting, now).await?,
        }
        if setting.max_running.is_some() {
            fill(tx, &self.scope).await?;
        }
        applied(tx).await
    }
}

impl SetScope {
    fn refused(&self, why: String) -> Fault {
        Fault::new(FaultSort::Invalid, format!("{}: {why}", self.scope))
    }

    /// What is set now, locked.
    async fn known(&self, tx: &mut Tx<'_>) -> Result<Option<Setting>, Fault> {
        let mut sql = tx.sql("select sort, name, user_name, spec from ~setting where id = ");
        sql.bind(self.scope.key().0).for_update();
        let mut rows = tx.fetch(sql).await?;
        let Some(mut row) = rows.first() else {
            return Ok(None);
        };
        let scope = Scope::of(sort(&mut row)?, (row.name("setting")?, row.name("user")?));
        if scope != self.scope {
            return Err(self.refused(format!("its key is taken by {scope}; choose another name")));
        }
        match parse(&row.text()?) {
            Err(_) if self.changes.first() == Some(&SettingChange::Clear) => {
                Ok(Some(Setting::default()))
            }
            Err(_) => Err(self.refused(
                "this version cannot read what is set; upgrade it, or clear it first".to_owned(),
            )),
            Ok(setting) => Ok(Some(setting)),
        }
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_>,
        setting: &Setting,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let sql = tx.sql("select count(*) from ~setting");
        if tx.fetch(sql).await?.single_int()? >= SETTINGS_MAX as i64 {
            return Err(Fault::new(FaultSort::Invalid, too_many(&self.scope)));
        }
        let (first, second) = self.scope.names();
        let mut sql = tx.sql(
            "insert into ~setting (id, sort, name, user_name, spec, seq, full_at, unsettled) values (",
        );
        sql.bind(self.scope.key().0)
            .push(", ")
            .number(self.scope.sort() as i64)
            .push(", ")
            .bind(&first)
            .push(", ")
            .bind(&second)
            .push(", ")
            .bind(text(setting))
            .push(", 0, 0, ")
            .bind(unsettled(tx, now))
            .push(")");
        tx.execute_exactly(sql, 1).await
    }

    async fn update(
        &self,
        tx: &mut Tx<'_>,
        setting: &Setting,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let mut sql = tx.sql("update ~setting set seq = seq + 1, spec = ");
        sql.bind(text(setting))
            .push(", unsettled = ")
            .bind(unsettled(tx, now))
            .push(" where id = ")
            .bind(self.scope.key().0);
        tx.execute_exactly(sql, 1).await
    }
}

fn text(setting: &Setting) -> String {
    serde_json::to_string(setting).expect("a setting is made of numbers and texts")
}

/// Where nobody writes beside us, nothing is under way that could pass a change over.
fn unsettled(tx: &Tx<'_>, now: Timestamp) -> Option<Timestamp> {
    (!tx.dialect.writes_alone()).then_some(now)
}

/// All changes take turns here.
async fn take_turn_to_set(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let mut sql = tx.sql("insert into ~config (id, version) values (1, 0) ");
    sql.push(match tx.database() {
        Database::Sqlite | Database::Postgres => {
            "on conflict (id) do update set version = ~config.version"
        }
        Database::MySql => "on duplicate key update version = version",
    });
    // It locks the row on all of them, also where it changes nothing.
    tx.execute(sql).await?;
    Ok(())
}

/// From the commit on, nothing is claimed on what was set before.
async fn raise_version(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let sql = tx.sql("update ~config set version = version + 1 where id = 1");
    tx.execute_exactly(sql, 1).await
}

async fn applied(tx: &mut Tx<'_>) -> Result<Applied, Fault> {
    let sql = tx.sql("select version from ~config where id = 1");
    let version = tx.fetch(sql).await?.single_int()?;
    Ok(Applied {
        version: u64::try_from(version).unwrap_or_default(),
        settles_in_ms: if tx.dialect.writes_alone() {
            0
        } else {
            SETTLE_MS
        },
    })
}

pub(crate) struct Settle {
    pub scope: Scope,
}

impl Operation for Settle {
    const NAME: &'static str = "settle what is set";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        // All nodes ask this once, and one has to do it: whoever comes later keeps no claim waiting.
        let mut sql = tx.sql("select count(*) from ~setting where unsettled is not null and id = ");
        sql.bind(self.scope.key().0);
        if tx.fetch(sql).await?.single_int()? == 0 {
            return Ok(());
        }
        let now = tx.now().await?;
        let mut sql = tx.sql("select spec, unsettled from ~setting where id = ");
        sql.bind(self.scope.key().0).for_update();
        let mut rows = tx.fetch(sql).await?;
        let Some(mut row) = rows.first() else {
            return Ok(());
        };
        let (setting, since) = (parse(&row.text()?)?, row.opt_time()?);
        if setting.max_running.is_some() {
            fill(tx, &self.scope).await?;
        }
        // Whoever changes it once more waits for itself.
        if since.is_some_and(|since| since.plus_ms(SETTLE_MS) <= now) {
            let mut sql = tx.sql("update ~setting set unsettled = null where id = ");
            sql.bind(self.scope.key().0);
            tx.execute(sql).await?;
        }
        Ok(())
    }
}

pub(crate) struct SetPolicy {
    pub policy: Option<String>,
}

impl Operation for SetPolicy {
    const NAME: &'static str = "set the policy";
    type Answer = Applied;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Applied, Fault> {
        take_turn_to_set(tx).await?;
        let sql = tx.sql("select policy from ~config where id = 1");
        let mut rows = tx.fetch(sql).await?;
        let mut row = rows.first().ok_or_else(Fault::moved)?;
        if row.opt_text()? != self.policy {
            let mut sql = tx.sql("update ~config set version = version + 1, policy = ");
            sql.bind(self.policy.clone()).push(" where id = 1");
            tx.execute_exactly(sql, 1).await?;
        }
        applied(tx).await
    }
}
